"""Question answering: the answer is a span of a passage, or there is none."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.question_answering.baselines import FrequentSpan, NoAnswer, WordOverlap
    from tasks.question_answering.bidaf import AttentionFlow
    from tasks.question_answering.data import GenerativeData
    from tasks.question_answering.judge import Judge
    from tasks.question_answering.span_data import SpanData
    from tasks.question_answering.spans import SpanTask
    from tasks.question_answering.task import GenerativeTask

__all__ = [
    "AttentionFlow",
    "FrequentSpan",
    "GenerativeData",
    "GenerativeTask",
    "Judge",
    "NoAnswer",
    "SpanData",
    "SpanTask",
    "WordOverlap",
]
MODULES = {  # of this package, by exported name
    "AttentionFlow": "bidaf",
    "FrequentSpan": "baselines",
    "GenerativeData": "data",
    "GenerativeTask": "task",
    "Judge": "judge",
    "NoAnswer": "baselines",
    "SpanData": "span_data",
    "SpanTask": "spans",
    "WordOverlap": "baselines",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
