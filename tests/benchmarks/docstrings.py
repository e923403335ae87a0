"""Summary lines of documented Python objects, in an hour: is the model better than two good rules?"""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.reported import beside, minutes

CONFIG = "summarization/docstrings_cpu.yaml"
RIVALS = {"first sentence of the body": "body", "bare name": "name"}


def rivals(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """ROUGE-L of two rules that read what the model reads, each tested against the model example by example."""
    from lslm_lightning.metrics.rouge import Rouge
    from lslm_lightning.metrics.significance import paired_randomization
    from lslm_lightning.systems.baselines import Rule
    from lslm_lightning.text.sentences import split_sentences
    from tests.benchmarks.finished import Finished

    run = Finished(done["training"]["run"])
    examples, ours = run.data.examples("test"), run.score(run.predictions).rows["rougeL"]
    known = {row["id"]: row for row in run.data.corpus.rows("test")}
    found = {}
    for name, field in RIVALS.items():
        rule = Rule(name, lambda example, field=field: split_sentences(known[example.id][field], "en")[0])
        theirs = run.score(list(rule.generate(examples)))
        test = paired_randomization(Rouge("L", "en"), ours, theirs.rows["rougeL"])
        found[name] = {"rougeL": theirs["rougeL"].value, "difference": test.difference, "low": test.low, "high": test.high, "p": test.p}
    return found


def baselines(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """What the task itself puts beside a run."""
    from tests.benchmarks.finished import Finished

    return Finished(done["training"]["run"]).baselines()


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Better, and not by chance."""
    rows = [Check("rougeL", figures["training"]["scores"]["rougeL"])]
    for name in RIVALS:
        rival = figures["rivals"][name]
        rows.append(Check(f"rougeL of {name}", rival["rougeL"]))
        rows.append(Check("  difference", rival["difference"], ">", 0.0))
        rows.append(Check("  p, paired approximate randomization", rival["p"], "<", 0.05))
    return [*rows, *beside(figures, "rougeL"), minutes(figures, 60)]


BENCHMARK = Benchmark(
    about="docstrings to summary lines in 60 minutes: ROUGE-L against the first sentence and the bare name",
    minutes=70,
    parts={"training": lambda done, smoke: train(CONFIG, smoke=smoke), "rivals": rivals, "baselines": baselines},
    checks=checks,
)
