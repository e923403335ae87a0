"""Question answering: the answer is a span of a passage, or the question has no answer."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.question_answering.baselines import FrequentSpan, NoAnswer, WordOverlap
    from tasks.question_answering.data import GenerativeData
    from tasks.question_answering.extractive.answerability import AnswerabilityHead
    from tasks.question_answering.extractive.bidaf import AttentionFlow
    from tasks.question_answering.extractive.data import SpanData
    from tasks.question_answering.extractive.task import SpanTask
    from tasks.question_answering.task import GenerativeTask

__all__ = [
    "AnswerabilityHead",
    "AttentionFlow",
    "FrequentSpan",
    "GenerativeData",
    "GenerativeTask",
    "NoAnswer",
    "SpanData",
    "SpanTask",
    "WordOverlap",
]
MODULES = {  # of this package, by exported name
    "AttentionFlow": "extractive.bidaf",
    "FrequentSpan": "baselines",
    "GenerativeData": "data",
    "GenerativeTask": "task",
    "AnswerabilityHead": "extractive.answerability",
    "NoAnswer": "baselines",
    "SpanData": "extractive.data",
    "SpanTask": "extractive.task",
    "WordOverlap": "baselines",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
