"""Whole jobs through the real command line."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.runs import RunDirectory
from tests.benchmarks.benchmark import MISALIGNED, Figures

HOME = Path(__file__).parents[2]
SMOKE = ("--trainer.max_steps=4", "--trainer.val_check_interval=2", "--trainer.limit_val_batches=2")
SMOKE_SPANS = ("--data.n_validation_example=4", "--trainer.limit_test_batches=2")
SMOKE_PAIRS = (
    "--model.max_length=4",
    "--model.search=lslm_lightning.decoding.Greedy",
    "--data.n_validation_example=4",
)
SMOKE_OTHERS = {  # by the folder of a config
    "language_modeling": (),
    "question_answering": SMOKE_SPANS,
    "speech_recognition": ("--data.n_validation_example=4",),
}


class JobError(RuntimeError):
    """An `lslm` command failed; it has said why."""


def environment_of() -> dict[str, str]:
    """Of a command: ours without what a run around us has told its children, and our code."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LSLM_RUN", "PL_GLOBAL"))
    }
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def lslm(
    *words: str,
    hidden: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    bar: bool = False,
) -> list[RunDirectory]:
    """Run `lslm WORDS` and show what it says; the run directories it made.

    Args:
        hidden: variables of the environment it does not see.
        given: those it sees in place of ours.
        bar: draw the progress bar even where nobody looks.

    Raises:
        JobError: it failed.
    """
    environment = environment_of() | ({"FORCE_COLOR": "1"} if bar else {}) | dict(given or {})
    environment = {name: value for name, value in environment.items() if name not in hidden}
    directories = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as unseen:
        errors = unseen if bar and not sys.stderr.isatty() else None
        command = [sys.executable, "-m", "lslm_lightning", *words]
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                print(f"    {line}", end="", flush=True)
                if line.startswith("run "):
                    directories.append(RunDirectory(Path(line.removeprefix("run ").strip())))
        if process.returncode:
            unseen.seek(0)
            reason = unseen.read().strip().splitlines()[-1:]
            raise JobError(
                (
                    f"lslm {' '.join(words)} ended with status {process.returncode} "
                    f"{' '.join(reason)}"
                ).rstrip()
            )
    return directories


def count_misaligned(findings: Sequence[Mapping[str, str]]) -> int:
    """Number of systems whose outputs are said to stand beside the wrong references."""
    return sum(finding["check"] == "misaligned outputs" for finding in findings)


def config_path(config: str) -> Path:
    """A file under configs/.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = HOME / "configs" / config
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the benchmark trains what it describes")
    return path


def train(config: str, *words: str, smoke: bool) -> Figures:
    """`lslm run` of a file under configs/: the directory, the minutes, and the scores on the test
    split.

    `training_minutes` is from the first of the run to its last checkpoint: data, validations and
    the measuring of a budget are in it.
    """
    if smoke:
        words += SMOKE + SMOKE_OTHERS.get(config.partition("/")[0], SMOKE_PAIRS)
    began = time.time()
    [directory] = lslm("run", "--config", str(config_path(config)), *words)
    scores = read_scores(directory.metrics)
    record = json.loads(directory.metrics.read_text("utf-8"))
    return {
        "run": str(directory.path),
        MISALIGNED: count_misaligned(record["findings"]),
        "training_minutes": ((directory.checkpoints / "last.ckpt").stat().st_mtime - began) / 60,
        "scores": {score.metric: score.value for score in scores},
        "signatures": {score.metric: score.signature for score in scores},
    }


def run_sweep(config: str, name: str, *words: str, smoke: bool) -> Figures:
    """Run `lslm sweep` with a file under configs/, under a name of its own.

    Its folder, minutes, and by system the headline metric with its interval, and its size.

    `p` holds by "first, second" the corrected p-values of the paired tests. What is finished in
    this folder is not trained again.
    """
    if smoke:
        words += (
            *SMOKE,
            "--job.minutes=null",
            *(() if config.startswith("language_modeling") else SMOKE_PAIRS),
        )
    began = time.time()
    lslm("sweep", "--config", str(config_path(config)), f"--name={name}", *words)
    found = max(Path("runs").glob(f"*/{name}-*/evaluation.yaml"), key=os.path.getmtime).parent
    results = json.loads((found / "metrics.json").read_text("utf-8"))
    leading = {
        name: next(
            (s for s in entry["scores"] if s["metric"] == results["headline"]),
            {"value": None, "low": None, "high": None},
        )
        for name, entry in results["systems"].items()
    }
    return {
        "sweep": str(found),
        "minutes": (time.time() - began) / 60,
        "headline": results["headline"],
        MISALIGNED: count_misaligned(results["findings"]),
        "scores": {
            name: {part: score[part] for part in ("value", "low", "high")}
            for name, score in leading.items()
        },
        "parameters": {
            name: entry["facts"].get("n_parameter") for name, entry in results["systems"].items()
        },
        "p": {
            f"{p['first']}, {p['second']}": p["p"]
            for p in results["pairs"]
            if p["metric"] == results["headline"]
        },
    }
