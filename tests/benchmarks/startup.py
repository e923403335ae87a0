"""`python -m tests.benchmarks.startup BEFORE AFTER`: how long two trees take to start and to train.

BEFORE and AFTER are checkouts or commits. `lslm --help`, `lslm run --help`, the first step of
`lslm run` on prepared texts, and 200 later steps of two demo configs are timed in both by turns,
after one turn that counts for nothing. The table gives medians in seconds of the wall clock and of
the processor (of steps, that of the whole run), and the ratios of AFTER to BEFORE: above 1 AFTER is
slower. On a machine that other work keeps busy the wall clock tells nothing, and the processor
little.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.trees import Tree, TreeError, aligned, end_on_termination, opened, shown

LANGUAGE_MODEL = (
    "configs/language_modeling/docstrings_demo.yaml",
    "--data.corpus=text",
    "--data.prepared=prepared",
)
TRANSLATION = ("configs/translation/cldr_demo.yaml", "--data.n_validation_example=2")
BRIEF = (
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.precision=32-true",
    "--trainer.enable_progress_bar=false",
    "--job.minutes=null",
)
TINY = (
    "--model.backbone.d_model=16",
    "--model.backbone.d_feedforward=16",
    "--data.batch_size=1",
    "--trainer.max_steps=1",
    "--trainer.log_every_n_steps=1",
)
N_WARM_UP = 50
N_STEP = 200

Seconds = dict[str, dict[str, list[tuple[float, float]]]]
"""Wall clock and processor of every turn, by command and tree."""

Timer = Callable[[Tree, Path], float]


def help_of_all(tree: Tree, folder: Path) -> float:
    """Return the seconds of `lslm --help`."""
    return tree.seconds(folder, "--help")


def help_of_run(tree: Tree, folder: Path) -> float:
    """Return the seconds of `lslm run --help`."""
    return tree.seconds(folder, "run", "--help")


def first_step(tree: Tree, folder: Path) -> float:
    """Return the seconds from the start of `lslm run` to the loss of its first step.

    Raises:
        TreeError: no loss was logged.
    """
    began = time.time()
    return logged_steps(tree, folder, *LANGUAGE_MODEL, *TINY)[1] - began


def steps(config: Sequence[str], tree: Tree, folder: Path) -> float:
    """Return the seconds of `N_STEP` steps after the first `N_WARM_UP`, of the sizes of a config.

    Raises:
        TreeError: no loss was logged.
    """
    last = N_WARM_UP + N_STEP
    settings = (
        f"--trainer.max_steps={last}",
        f"--trainer.val_check_interval={last}",
        f"--trainer.log_every_n_steps={N_WARM_UP}",
    )
    times = logged_steps(tree, folder, *config, *settings)
    return times[last] - times[N_WARM_UP]


def logged_steps(tree: Tree, folder: Path, config: str, *settings: str) -> dict[int, float]:
    """Return when the loss of each logged step of a run was known, in seconds since 1970.

    Raises:
        TreeError: no loss was logged.
    """
    words = ("--config", str(tree.root / config), *settings, *BRIEF)
    printed = tree.lslm(folder, "run", *words)
    [run] = [line.removeprefix("run ") for line in printed.splitlines() if line.startswith("run ")]
    rows = map(json.loads, (folder / run.strip() / "metrics.jsonl").read_text("utf-8").splitlines())
    times = {row["step"]: row["time"] for row in rows if row["name"] == "train/loss"}
    if not times:
        raise TreeError(f"{tree.name}: {run} has no train/loss")
    return times


TIMED: dict[str, Timer] = {
    "lslm --help": help_of_all,
    "lslm run --help": help_of_run,
    "first step of lslm run": first_step,
    f"{N_STEP} steps, language model": partial(steps, LANGUAGE_MODEL),
    f"{N_STEP} steps, translation": partial(steps, TRANSLATION),
}


def prepare(tree: Tree, folder: Path) -> None:
    """Write texts, and make token ids of them with a tree.

    Raises:
        TreeError: it failed.
    """
    text = folder / "text"
    text.mkdir(parents=True)
    words = ("red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "runs", "sleeps")
    for split, n_word in (("train", 20_000), ("val", 400), ("test", 400)):
        chosen = (words[(i * i + i // 7 + len(split)) % len(words)] for i in range(n_word))
        (text / f"{split}.txt").write_text(" ".join(chosen) + "\n", "utf-8")
    settings = ("--output", "prepared", "--vocab-size", "300", "--workers", "1")
    tree.lslm(folder, "data", "prepare", "text/train.txt", *settings)


def measured(trees: Sequence[Tree], folder: Path, n: int) -> Seconds:
    """Return the seconds of every command in `n` turns, which begin with each tree alternately."""
    found: Seconds = {name: {tree.name: [] for tree in trees} for name in TIMED}
    for turn in range(n + 1):
        for name, timer in TIMED.items():
            for tree in trees if turn % 2 else reversed(trees):
                before = processor_seconds()
                wall = timer(tree, folder / tree.name)
                if turn:
                    found[name][tree.name].append((wall, processor_seconds() - before))
        print(f"turn {turn} of {n}{'' if turn else ', not counted'}", flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.startup", description=__doc__)
    parser.add_argument("before", metavar="BEFORE", help="a checkout or a commit")
    parser.add_argument("after", metavar="AFTER", help="another one")
    parser.add_argument("-n", type=int, default=5, metavar="TURNS", help="default: 5")
    options = parser.parse_args(argv)
    end_on_termination()
    try:
        with (
            opened(options.before, options.after) as trees,
            tempfile.TemporaryDirectory(prefix="startup-") as name,
        ):
            for tree in trees:
                prepare(tree, Path(name) / tree.name)
            found = measured(trees, Path(name), options.n)
            identities = {tree.name: tree.identity for tree in trees}
    except TreeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{shown(identities)}; load {os.getloadavg()[0]:.1f}\n{table(found)}")
    return 0


def processor_seconds() -> float:
    """Return what all ended children of this process have taken of the processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table(found: Seconds) -> str:
    """Return medians and ratios as a table."""
    heads = ("wall before", "after", "ratio", "processor before", "after", "ratio")
    rows = [("seconds, median", *heads)]
    for name, seconds in found.items():
        row = [name]
        for kind in (0, 1):
            turns = (seconds[tree] for tree in ("before", "after"))
            before, after = (statistics.median(turn[kind] for turn in own) for own in turns)
            row += [f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}"]
        rows.append(tuple(row))
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(main())
