"""`python -m tests.released.make TREE`: write the run directories of a release anew.

TREE is a checkout whose code writes them. They are made once, by the release that they are of;
tests then load them with the code as it has become. Nothing of TREE is imported here: a process
of its own runs its commands in an empty folder.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.released.corpora import write_corpora
from tests.released.recipes import MORE_STEPS, RECIPES, Recipe
from tests.released.states import summarize

HERE = Path(__file__).parent
KEPT = ("config.yaml", "tokenizer.json", "metrics.json", "metrics.jsonl")
DRIVER = """
import io, json, os, signal, sys, threading, time
from contextlib import redirect_stdout
from pathlib import Path
from lslm_lightning.__main__ import main

def interrupt(name, n_step):
    while True:
        for path in Path("runs").glob(f"*/{name}-*/metrics.jsonl"):
            if any(json.loads(line)["step"] >= n_step
                   for line in path.read_text().splitlines(True) if line.endswith("\\n")):
                os.kill(os.getpid(), signal.SIGINT)
                return
        time.sleep(0.001)

results = []
for command in json.load(sys.stdin):
    for name in ("LSLM_RUN_DIRECTORY", "LSLM_RUN_ID", "PL_GLOBAL_SEED"):
        os.environ.pop(name, None)
    words = command["words"]
    sys.argv[1:] = words
    if command.get("interrupt"):
        threading.Thread(target=interrupt, args=command["interrupt"], daemon=True).start()
    print("lslm", *words, file=sys.stderr, flush=True)
    with redirect_stdout(io.StringIO()) as out:
        status = main(words)
    if status != command["status"]:
        sys.exit(f"{words} ended with status {status}: {out.getvalue()}")
    results.append(out.getvalue())
    print(out.getvalue(), end="", file=sys.stderr, flush=True)
Path("results.json").write_text(json.dumps(results))
"""


def run_commands(tree: Path, folder: Path, commands: Sequence[Mapping[str, Any]]) -> list[str]:
    """Run `lslm` commands of `tree` in `folder`, one after the other; return what they print.

    Raises:
        CalledProcessError: one did not end with its `status`.
    """
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("LSLM", "MLFLOW", "PL_"))}
    own = {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "LSLM_CACHE": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(commands),
        text=True,
        cwd=folder,
        env=kept | own,
        check=True,
    )
    return json.loads((folder / "results.json").read_text("utf-8"))


def command(*words: str, status: int = 0, interrupt: Sequence[Any] = ()) -> dict[str, Any]:
    """Return what the driver needs to know of a command."""
    return {"words": list(words), "status": status, "interrupt": list(interrupt)}


def training(name: str, recipe: Recipe) -> dict[str, Any]:
    """Return the command that trains and tests a recipe."""
    words = ("run", "--config", f"{name}.yaml")
    if recipe.n_interrupting_step is None:
        return command(*words)
    return command(*words, status=130, interrupt=(name, recipe.n_interrupting_step))


def directory_of(folder: Path, name: str, recipe: Recipe) -> Path:
    """Return the run directory of a recipe, whose id is chance."""
    [found] = (folder / "runs" / recipe.task).glob(f"{name}-*")
    return found


def keep_run(source: Path, target: Path) -> None:
    """Copy what is needed to load, generate, resume, evaluate and compare a run."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in KEPT:
        if (source / name).exists():
            shutil.copy(source / name, target)
    with tarfile.open(target / "checkpoints.tar.xz", "w:xz", preset=9) as archive:
        archive.add(source / "checkpoints", "checkpoints")
    if (source / "predictions/test.jsonl").exists():
        (target / "predictions").mkdir()
        shutil.copy(source / "predictions/test.jsonl", target / "predictions")


def curve(run: Path, after: int) -> dict[str, list[list[float]]]:
    """Return every loss and score that was logged after a step."""
    found: dict[str, list[list[float]]] = {}
    for line in (run / "metrics.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["name"].startswith(("train/loss", "val/")) and row["step"] > after:
            found.setdefault(row["name"], []).append([row["step"], row["value"]])
    return found


def scores_of(run: Path) -> dict[str, list[Any]]:
    """Return value and signature of every score that a run recorded, by metric."""
    rows = json.loads((run / "metrics.json").read_text("utf-8"))["scores"]
    return {row["metric"]: [row["value"], row["signature"]] for row in rows}


def last_step(run: Path) -> int:
    """Return the step of a run's newest state."""
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]


def check_states(found: Mapping[str, Path]) -> None:
    """Check that the runs hold every kind of state.

    Raises:
        ValueError: one is missing, for training came to something else.
    """
    averaged, last = (
        summarize(found["lstm_lm"] / "checkpoints" / name) for name in ("best.ckpt", "last.ckpt")
    )
    if averaged == last:
        raise ValueError("best.ckpt of lstm_lm is no mean of several states")
    state = torch.load(found["interrupted_lm"] / "checkpoints/last.ckpt", weights_only=True)
    progress = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    if progress["is_last_batch"] or not progress["current"]["completed"] > 0:
        raise ValueError("interrupted_lm was not stopped in mid-epoch")
    ngram = found["ngram_lm"] / "checkpoints/ngram/ngram.json"
    if not ngram.exists() or not (found["transformer_lm"] / "checkpoints/last-1.ckpt").exists():
        raise ValueError("n-gram tables or the state before the last are missing")


def make(tree: Path, target: Path) -> None:
    """Write `runs/` and `expected.json` into `target`."""
    with tempfile.TemporaryDirectory(prefix="released-") as made:
        folder = Path(made)
        write_corpora(folder / "corpora")
        for name, recipe in RECIPES.items():
            (folder / f"{name}.yaml").write_text(json.dumps(recipe.config(), indent=1), "utf-8")
        run_commands(tree, folder, [training(name, each) for name, each in RECIPES.items()])
        found = {name: directory_of(folder, name, each) for name, each in RECIPES.items()}
        check_states(found)
        shutil.rmtree(target / "runs", ignore_errors=True)
        for name, path in found.items():
            keep_run(path, target / "runs" / RECIPES[name].task / name)
        expected = expectations(tree, folder, found)
    expected["made"] = {
        "torch": torch.__version__,
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "commit": subprocess.run(
            ["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
    }
    rows = [f"{json.dumps(n)}: {json.dumps(e, ensure_ascii=False)}" for n, e in expected.items()]
    (target / "expected.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


def expectations(tree: Path, folder: Path, found: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the release itself generates and comes to when it goes on, by run."""
    commands = []
    steps = {}
    for name, path in found.items():
        commands.append(
            command("generate", str(path), RECIPES[name].source, *RECIPES[name].options)
        )
    for name, path in found.items():
        if RECIPES[name].is_resumed:
            steps[name] = last_step(path)
            n_step = steps[name] + MORE_STEPS
            commands.append(command("resume", str(path), f"--trainer.max_steps={n_step}"))
    outputs = run_commands(tree, folder, commands)
    expected: dict[str, Any] = {}
    for name, path in found.items():
        expected[name] = {"source": RECIPES[name].source, "generated": outputs.pop(0)}
        if name in steps:
            expected[name]["resumed"] = {
                "from_step": steps[name],
                "max_steps": last_step(path),
                "curve": curve(path, steps[name]),
                "scores": scores_of(path),
                "weights": summarize(path / "checkpoints/last.ckpt"),
            }
    return expected


def main() -> None:
    """Parse the command line and write the runs."""
    parser = argparse.ArgumentParser("python -m tests.released.make", description=__doc__)
    parser.add_argument("tree", type=Path, metavar="TREE", help="the checkout whose code runs")
    parser.add_argument("--target", type=Path, default=HERE, help="default: beside this script")
    options = parser.parse_args()
    make(options.tree.resolve(), options.target.resolve())


if __name__ == "__main__":
    main()
