"""An LSTM with attention beside the Transformer, Multi30k, in the same minutes."""

from tests.benchmarks.benchmark import Check, Figures
from tests.benchmarks.sweeps import sweep, value


def near(found: Figures) -> list[Check]:
    return [
        Check(
            "BLEU of the LSTM over that of the Transformer",
            value(found, "lstm") / value(found, "transformer"),
            ">=",
            0.85,
        )
    ]


BENCHMARK = sweep(
    "Multi30k en-de: copy, LSTM with attention, Transformer",
    65,
    "translation/sweep.yaml",
    "multi30k",
    near,
)
