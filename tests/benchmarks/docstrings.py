"""Summary lines of documented Python objects, in an hour: is the model better than two good
rules?
"""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.reported import minutes

CONFIG = "summarization/docstrings_cpu.yaml"
RIVALS = {"first sentence of the body": "first sentence", "bare name": "bare name"}
"""What they are called here: their names among the task's baselines."""


def rivals(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """ROUGE-L of two rules that read what the model reads, each tested against the model example by
    example.
    """
    from lslm_lightning.metrics.rouge import Rouge
    from lslm_lightning.metrics.significance import paired_randomization
    from tests.benchmarks.finished import Finished

    run = Finished(done["training"]["run"])
    examples = run.data.examples("test")
    ours = run.score(run.predictions).rows["rougeL"]
    rules = {system.name: system for system in run.task.report.baselines(run.data)}
    found = {}
    for name, baseline in RIVALS.items():
        theirs = run.score(list(rules[baseline].generate(examples)))
        test = paired_randomization(Rouge("L", "en"), ours, theirs.rows["rougeL"])
        found[name] = {
            "rougeL": theirs["rougeL"].value,
            "difference": test.difference,
            "low": test.low,
            "high": test.high,
            "p": test.p,
        }
    return found


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Better, and not by chance."""
    rows = [Check("rougeL", figures["training"]["scores"]["rougeL"])]
    for name in RIVALS:
        rival = figures["rivals"][name]
        rows.append(Check(f"rougeL of {name}", rival["rougeL"]))
        rows.append(Check("  difference", rival["difference"], ">", 0.0))
        rows.append(Check("  p, paired approximate randomization", rival["p"], "<", 0.05))
    return [*rows, minutes(figures, 60)]


BENCHMARK = Benchmark(
    about=(
        "docstrings to summary lines in 60 minutes: ROUGE-L against the first sentence and the "
        "bare name"
    ),
    minutes=70,
    parts={"training": lambda done, smoke: train(CONFIG, smoke=smoke), "rivals": rivals},
    checks=checks,
)
