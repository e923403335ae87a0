"""SQuAD 2.0 as a whole, tested on its development set; where the files are at hand."""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.reported import beside, minutes, one_run


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Beside what needs no model."""
    scores = figures["training"]["scores"]
    ours = [Check("exact match", scores["exact_match"]), Check("F1", scores["f1"])]
    return [*ours, *beside(figures, "exact_match", "f1"), minutes(figures)]


BENCHMARK = Benchmark(
    about="SQuAD 2.0 as a whole: exact match and F1 on its development set",
    minutes=120,
    parts=one_run(
        "question_answering/squad_full.yaml", dict.fromkeys(("exact_match", "f1"), "rules:squad")
    ),
    checks=checks,
    needs=("LSLM_DATA",),
    files=("squad-2.0/train-v2.0.json", "squad-2.0/dev-v2.0.json"),
)
