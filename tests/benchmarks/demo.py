"""`lslm demo`: how long it takes, and whether each task beats its floor."""

import time
from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import lslm, train

TASKS = ("language_modeling", "translation", "summarization")
CONFIGS = (
    "language_modeling/docstrings_demo.yaml",
    "translation/cldr_demo.yaml",
    "summarization/docstrings_demo.yaml",
)


def demo(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """The three runs, without real corpora in sight; a smoke test trains the same configs for a few
    steps.
    """
    began = time.monotonic()
    if smoke:
        runs = [train(config, smoke=True)["run"] for config in CONFIGS]
    else:
        runs = [str(directory.path) for directory in lslm("demo", hidden=("LSLM_DATA",))]
    return {"minutes": (time.monotonic() - began) / 60, "runs": dict(zip(TASKS, runs, strict=True))}


def floors(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Scores of the runs and of what needs no model."""
    from tests.benchmarks.finished import Finished

    found = {}
    for task, reference in done["demo"]["runs"].items():
        run = Finished(reference)
        scores = {score.metric: score.value for score in run.score(run.predictions).scores}
        found[task] = {"scores": scores, "baselines": run.baselines()}
    return found


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Bits per byte below xz, BLEU above 60, ROUGE-L above the most frequent and a random
    summary.
    """
    scores = {task: found["scores"] for task, found in figures["floors"].items()}
    beside = {task: found["baselines"] for task, found in figures["floors"].items()}
    rouge = {name: found["rougeL"] for name, found in beside["summarization"].items()}
    floor = max(rouge[name] for name in ("most frequent answer", "random answer"))
    return [
        Check("minutes, without set-up", figures["demo"]["minutes"], "<=", 15),
        Check(
            "bits per byte, docstrings, against xz -9",
            scores["language_modeling"]["bits_per_byte"],
            "<",
            beside["language_modeling"]["xz -9"]["bits_per_byte"],
        ),
        Check("BLEU, cldr en-zh", scores["translation"]["bleu"], ">", 60),
        Check(
            "ROUGE-L, docstrings, against the most frequent and a random one",
            scores["summarization"]["rougeL"],
            ">",
            floor,
        ),
        *(Check(f"ROUGE-L of {name}", value) for name, value in rouge.items()),
    ]


BENCHMARK = Benchmark(
    about="lslm demo: its time, and the floor of each task",
    minutes=12,
    parts={"demo": demo, "floors": floors},
    checks=checks,
)
