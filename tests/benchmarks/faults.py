"""Runs that are killed at random moments of their lives and resumed, and a server that is away:
nothing is lost, nothing is there twice.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

from tests.benchmarks.benchmark import Benchmark, Check, Figures, Part
from tests.benchmarks.job import HOME
from tests.commands.compared_runs import config_of, delivered, only, same_run
from tests.support.forked_commands import Forked, Origin, of_torchrun
from tests.support.mlflow_server import free_port, mlflow_server
from tests.support.slow_connection import Wire
from tests.tracking.older import make_older_store

KINDS = {  # of data, each on these numbers of processes
    "pairs": (1, 2),
    "windows": (1, 2),
    "stream": (1, 2),
    "spans": (1,),
    "rows": (2,),
    "recordings": (2,),
}
N_MOMENT = 20
AWAY_SECONDS = 60.0
N_STORE = 30
STORE_SECONDS = 2.0


class Field:
    """A folder in which commands run, each in one process or in several; imports are paid for
    once.
    """

    def __init__(self, folder: Path) -> None:
        from tests.commands.conftest import write_translation
        from tests.conftest import write_pairs

        self.folder = folder
        self.tiny = write_translation(folder / "tiny.yaml", write_pairs(folder / "pairs"))
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LSLM_R", "PL_GLOBAL", "MLFLOW_TRACKING"))
        }
        self.environment = {
            **inherited,
            "LSLM_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(HOME),
        }
        self.origin = Origin(self.environment, folder)

    def start(self, n: int, *words: object, **variables: str) -> list[Forked]:
        """`lslm WORDS` on `n` processes."""
        from torch.distributed import TCPStore

        self.store = (
            TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if n > 1 else None
        )
        own = of_torchrun(n, self.store.port) if n > 1 else [{}]
        return [
            self.origin.fork([*map(str, words)], self.environment | variables | each, self.folder)
            for each in own
        ]


@contextmanager
def field() -> Iterator[Field]:
    """One in a temporary folder, which is the working directory meanwhile."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        made = Field(Path(name))
        try:
            yield made
        finally:
            made.origin.close()


def ended(processes: Sequence[Forked]) -> None:
    """All of them, well.

    Raises:
        RuntimeError: with what was said.
    """
    for process in processes:
        output, _ = process.communicate(timeout=300)
        if process.returncode:
            raise RuntimeError(f"status {process.returncode}: {output[-2000:]}")


def kills(kind: str, n: int) -> Part:
    """The part that kills trainings on these data, on `n` processes: in steps, in validations, in
    saves, in the test, at the end.
    """

    def part(done: Mapping[str, Figures], smoke: bool) -> Figures:
        with field() as here:
            config = config_of(kind, here.tiny)
            words = ("run", "--config", config)
            straight, seconds = undisturbed(here, n, *words)
            return tally(
                N_MOMENT if not smoke else 1,
                lambda i: trial(here, n, i, (0.0, seconds), straight, *words),
            )

    return part


def undisturbed(here: Field, n: int, *words: object, **variables: str) -> tuple[Path, float]:
    """A run that nobody touches, and the seconds of another one, which finds the tokenizer made."""
    ended(here.start(n, *words, "--job.name=straight", **variables))
    began = time.monotonic()
    ended(here.start(n, *words, "--job.name=timed", **variables))
    return only("straight-*"), time.monotonic() - began


def trial(
    here: Field,
    n: int,
    number: int,
    between: tuple[float, float],
    straight: Path,
    *words: object,
    store: str | None = None,
) -> tuple[str, str]:
    """Kill one run at a random moment, go on with it, and compare: how it was killed, and in words
    what differs.
    """
    chance = random.Random(f"{words}{n}{number}")
    name = f"killed{number}"
    variables = {"MLFLOW_TRACKING_URI": store} if store else {}
    processes = here.start(n, *words, f"--job.name={name}", **variables)
    time.sleep(chance.uniform(*between))
    was = "after its end" if processes[0].poll() is not None else "killed"
    processes[chance.randrange(n)].send_signal(signal.SIGKILL)
    for process in processes:
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:  # it waits for the other to begin: torchrun would end it
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
    found = list(Path("runs").glob(f"*/{name}-*"))
    begun = (
        bool(found) and (found[0] / "config.yaml").exists() and (found[0] / "mlflow.json").exists()
    )
    try:
        if begun:
            ended(here.start(n, "resume", found[0], **variables))
        else:
            was = "before it began"
            for path in found:
                shutil.rmtree(path)
            ended(here.start(n, *words, f"--job.name={name}", **variables))
        run = only(f"{name}-*")
        same_run(straight, run, store)
        return was, lacking(run, store) if store else ""
    except (AssertionError, RuntimeError) as error:
        return was, f"moment {number}: {error}"


def lacking(run: Path, store: str) -> str:
    """Files of a run that are not whole in MLflow, and points that are not there once."""
    from mlflow import MlflowClient

    from lslm_lightning.tracking.uploads import missing_files

    noted = json.loads((run / "mlflow.json").read_text())
    files = missing_files(MlflowClient(store), noted["run_id"], run, noted.get("sent", {}))
    counts = delivered(run, store)
    return "; ".join(
        [f"{name} is not in MLflow" for name in files]
        + [f"{n} {what}" for what, n in counts.items() if what != "points" and n]
    )


def tally(n: int, one: Callable[[int], tuple[str, str]]) -> Figures:
    """So many trials, and what came of them."""
    found: dict[str, int] = {}
    different = []
    for number in range(n):
        was, words = one(number)
        found[was] = found.get(was, 0) + 1
        different += [words] if words else []
        print(
            f"    {number + 1} of {n}: {was}{f'; {words}' if words else ', resumed, alike'}",
            flush=True,
        )
    return {"moments": n, "alike": n - len(different), "different": different, **found}


def uploads(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Kills while a server with a slow connection is told the end: tables, scores, report,
    checkpoint.
    """
    with (
        field() as here,
        tempfile.TemporaryDirectory() as name,
        mlflow_server(Path(name)) as address,
    ):
        store = f"http://127.0.0.1:{Wire(int(address.rpartition(':')[2]), 0.1).port}"
        words = ("run", "--config", config_of("windows", here.tiny))
        straight, seconds = undisturbed(here, 1, *words, MLFLOW_TRACKING_URI=store)
        trained = (straight / "checkpoints/best.ckpt").stat().st_mtime - (
            straight / "config.yaml"
        ).stat().st_mtime
        moments = (min(trained, 0.5 * seconds), seconds)
        return tally(
            N_MOMENT if not smoke else 1,
            lambda i: trial(here, 1, i, moments, straight, *words, store=store),
        )


def stores(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Kills while a command makes the store, or brings that of an older MLflow up to date."""
    number = N_STORE if not smoke else 2
    found: dict[str, int] = {}
    unusable = []
    with field() as here:
        config = config_of("windows", here.tiny)
        older = make_older_store(here.folder / "older.db", 20)
        for i in range(number):
            folder = here.folder / f"store-{i}"
            folder.mkdir()
            if i % 3 == 2:
                shutil.copy(older, folder / "mlflow.db")
            was = kill_maker(here, folder, random.Random(f"store{i}").uniform(0.0, STORE_SECONDS))
            reason = unusable_by(here, folder, config)
            found[was] = found.get(was, 0) + 1
            unusable += [f"{i}: {reason}"] if reason else []
            print(
                f"    {i + 1} of {number}: killed {was}{f'; {reason}' if reason else ', usable'}",
                flush=True,
            )
    return {"stores": number, "usable": number - len(unusable), "unusable": unusable, **found}


def kill_maker(here: Field, folder: Path, seconds: float) -> str:
    """Kill a command so long after it has begun with the store of a folder; in words, when that
    was.
    """
    words = ["compare", "--experiment", "none"]
    process = here.origin.fork(words, here.environment, folder)
    while not (folder / "mlflow.db.lock").exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    if process.poll() is not None:
        return "after its end"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return "in the draft" if (folder / ".mlflow.db.draft").exists() else "beside the draft"


def unusable_by(here: Field, folder: Path, config: Path) -> str:
    """The first command that cannot use the store of a folder, with what it says; "" for none."""
    table = ["compare", "--experiment", "language_modeling"]
    run = ["run", "--config", str(config), "--job.name=after", "--trainer.max_steps=2"]
    for words, status, said in (
        (table, 1, "has no experiment"),
        (run, 0, ""),
        (["sync"], 0, "0 points"),
        (table, 0, "after-"),
    ):
        runs = [str(path) for path in folder.glob("runs/*/*")] if words == ["sync"] else []
        process = here.origin.fork([*words, *runs], here.environment, folder)
        output, _ = process.communicate(timeout=300)
        if process.returncode != status or said not in output:
            return f"lslm {words[0]}: {output[-500:]}"
    return ""


def server_away(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A server is killed in the middle of a training and comes back later; then the run is told to
    stop.
    """
    seconds = 3.0 if smoke else AWAY_SECONDS
    port = free_port()
    with field() as here, tempfile.TemporaryDirectory() as name:
        with mlflow_server(Path(name), port) as store:
            words = (
                "fit",
                "--config",
                config_of("windows", here.tiny),
                "--trainer.max_steps=10000000",
                "--job.average=0",
            )
            [process] = here.start(1, *words, "--job.name=away", MLFLOW_TRACKING_URI=store)
            while not list(Path("runs").glob("*/away-*/checkpoints/last.ckpt")):
                time.sleep(0.1)
            run = only("away-*")
        before = steps_of(run)
        began = time.monotonic()
        time.sleep(seconds)
        during = steps_of(run) - before
        with mlflow_server(Path(name), port) as store:
            away = time.monotonic() - began
            time.sleep(5)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=180)
            return {
                "seconds_away": away,
                "steps_meanwhile": during,
                "status": process.returncode,
                **delivered(run, store),
            }


def steps_of(run: Path) -> int:
    """The last step that was logged."""
    return max(
        json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()
    )


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """What was killed ends as what was not."""
    rows = []
    for name, found in figures.items():
        if "moments" in found:
            rows.append(
                Check(
                    f"{name}: of {found['moments']} killed, alike in the end",
                    found["alike"],
                    ">=",
                    found["moments"],
                )
            )
        if "stores" in found:
            of = f"{name}: of {found['stores']} whose maker was killed, usable"
            rows.append(Check(of, found["usable"], ">=", found["stores"]))
    if away := figures.get("server away"):
        rows.append(Check("seconds that the server was away", away["seconds_away"]))
        rows.append(Check("steps meanwhile", away["steps_meanwhile"], ">", 0))
        rows += [
            Check(f"points {name}, of {away['points']:,}", away[name], "<=", 0)
            for name in ("missing", "doubled")
        ]
    return rows


PARTS = {
    f"{kind}, {n} process{'es' * (n > 1)}": kills(kind, n)
    for kind, numbers in KINDS.items()
    for n in numbers
}
BENCHMARK = Benchmark(
    (
        "runs and makers of stores killed at random moments, and an MLflow server that is away for "
        "a minute"
    ),
    60,
    {"stores": stores, **PARTS, "uploads": uploads, "server away": server_away},
    checks,
)
