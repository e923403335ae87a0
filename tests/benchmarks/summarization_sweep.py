"""Subject lines of emails, from the first sentence to a pointer-generator, in the same minutes."""

from tests.benchmarks.benchmark import Check, Figures
from tests.benchmarks.sweeps import sweep, value


def extracts(found: Figures) -> list[Check]:
    pair = next(
        p for names, p in found["p"].items() if set(names.split(", ")) == {"lead", "extractive"}
    )
    return [
        Check("extractive less lead", value(found, "extractive") - value(found, "lead"), ">", 0),
        Check("p of that difference, corrected", pair, "<", 0.05),
        Check(
            "oracle less extractive", value(found, "oracle") - value(found, "extractive"), ">", 0
        ),
    ]


BENCHMARK = sweep(
    "AESLC: lead, oracle, extractive, LSTM, Transformer, pointer",
    60,
    "summarization/sweep.yaml",
    "emails",
    extracts,
)
