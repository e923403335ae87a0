"""Subject lines of emails, against the original subject."""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.reported import beside, minutes, one_run

THRESHOLDS = {"rouge1": 15.3, "rouge2": 7.4, "rougeL": 14.9}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """ROUGE above a Transformer-base from scratch (Zhang et al. 2020) and above the first
    sentence.
    """
    scores = figures["training"]["scores"]
    ours = [Check(name, scores[name], ">", threshold) for name, threshold in THRESHOLDS.items()]
    return [*ours, *beside(figures, *THRESHOLDS), minutes(figures, 90)]


BENCHMARK = Benchmark(
    about="AESLC subject lines in at most 90 minutes: ROUGE against the original subject",
    minutes=105,
    parts=one_run(
        "summarization/aeslc_cpu.yaml", dict.fromkeys(THRESHOLDS, "nrefs:1|tok:rouge|stem:porter")
    ),
    checks=checks,
    needs=("LSLM_DATA",),
)
