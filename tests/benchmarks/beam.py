"""Beam search against `generate` of transformers, as tests/benchmarks/beam_speed.py measures it."""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures


def speed(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Sentences per second of both with the same weights in the same precision, medians of five
    rounds by turns.
    """
    from tests.benchmarks.beam_speed import main

    return main(n_step=5, n_round=1) if smoke else main()


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """The ratio; agreement shows that both did the same work."""
    found = figures["speed"]
    return [
        Check("beam 5, sentences/s", found["ours"]),
        Check("generate of transformers, sentences/s", found["transformers"]),
        Check("ratio", found["ratio"], ">=", 1.5),
        Check("share of equal answers (of two roundings)", found["agree"]),
    ]


BENCHMARK = Benchmark(
    "beam 5 against generate of transformers: equal weights and precision",
    5,
    {"speed": speed},
    checks,
)
