"""Benchmarks that are a sweep: scores of all variants, and the order in which they must stand."""

from collections.abc import Callable, Mapping, Sequence

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import run_sweep


def sweep(
    about: str,
    minutes: float,
    config: str,
    name: str,
    ordered: Callable[[Figures], Sequence[Check]],
    words: Sequence[str] = (),
) -> Benchmark:
    """Return the benchmark of one `lslm sweep`.

    Args:
        ordered: checks besides the scores, from the figures of `run_sweep`.
        words: settings for all runs.
    """

    def checks(figures: Mapping[str, Figures]) -> list[Check]:
        found = figures["sweep"]
        scores = {
            name: score["value"]
            for name, score in found["scores"].items()
            if score["value"] is not None
        }
        rows = [Check(f"{found['headline']} of {name}", score) for name, score in scores.items()]
        return [*rows, *ordered(found), Check("minutes in all", found["minutes"])]

    return Benchmark(
        about,
        minutes,
        {"sweep": lambda done, smoke: run_sweep(config, name, *words, smoke=smoke)},
        checks,
        ("LSLM_DATA",),
    )


def value(found: Figures, name: str) -> float:
    """Return the headline score of a variant."""
    return found["scores"][name]["value"]


def history(found: Figures) -> list[Check]:
    """Language models in bits per byte: each generation below the one before."""
    recurrent = value(found, "lstm")
    best = min(value(found, "lstm"), value(found, "transformer"))
    others = min(
        score["value"]
        for name, score in found["scores"].items()
        if name not in ("lstm", "transformer")
    )
    return [
        Check("5-gram less unigram", value(found, "5-gram") - value(found, "unigram"), "<", 0),
        Check("LSTM less 5-gram", recurrent - value(found, "5-gram"), "<", 0),
        Check(
            "the better of LSTM and Transformer, less the best of the others", best - others, "<", 0
        ),
    ]
