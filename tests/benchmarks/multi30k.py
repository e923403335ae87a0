"""Multi30k en-de in 40 minutes, against a plain loop over Marian in the same time on the same
machine.
"""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train

CONFIG = "translation/multi30k_en_de_cpu.yaml"
MINUTES = 40


def exams(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """BLEU of the trained run on both test splits: of what it wrote in its test, and of what it
    writes now.
    """
    from tests.benchmarks.bleus import EXAMS, bleus
    from tests.benchmarks.finished import Finished

    run = Finished(done["training"]["run"])
    first, second = (run.data.examples(split) for split in EXAMS.values())
    second = second[: 4 if smoke else None]
    return dict(
        zip(EXAMS, (bleus(first, run.predictions), bleus(second, run.answers(second))), strict=True)
    )


def peer(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """The same of the peer."""
    from tests.benchmarks.marian_peer import run

    return run(MINUTES, smoke)


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """BLEU against the threshold and against the peer."""
    bleu = figures["training"]["scores"]["bleu"]
    theirs = figures["peer"]["scores"]
    ours = figures["exams"]
    rows = [
        Check("BLEU on test_2016_flickr (cased, 13a, beam 5)", bleu, ">=", 38.2),
        Check("the same of the Marian loop", theirs["test_2016_flickr"]["bleu"]),
        Check("difference", bleu - theirs["test_2016_flickr"]["bleu"], ">=", 1.0),
        Check("BLEU on test_2017_flickr", ours["test_2017_flickr"]["bleu"]),
        Check("the same of the Marian loop", theirs["test_2017_flickr"]["bleu"]),
    ]
    rows += [Check(f"BLEU on {name}, lower-cased", ours[name]["bleu_lowercase"]) for name in ours]
    return [
        *rows,
        Check("minutes of training", figures["training"]["training_minutes"], "<=", MINUTES),
        Check("tokens/s of the Marian loop", figures["peer"]["tokens_per_second"]),
    ]


BENCHMARK = Benchmark(
    about="Multi30k en-de in 40 minutes against a plain loop over Marian in 40 minutes",
    minutes=90,
    parts={
        "training": lambda done, smoke: train(CONFIG, smoke=smoke),
        "exams": exams,
        "peer": peer,
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
