"""What a model has learned by heart: pieces of its texts that stand in the training text word for
word.
"""

from collections.abc import Iterable
from typing import NamedTuple

MOST = 20_000_000  # characters that are searched


class TrainingText(NamedTuple):
    """Training text as one string that is quick to search, and in words what of it is not there."""

    text: str
    note: str


def searchable(texts: Iterable[str]) -> TrainingText:
    """The first 20 million characters; texts are parted by a sign that no text has."""
    parts = []
    size = 0
    for text in texts:
        if size + len(text) > MOST:
            return TrainingText(
                "\x00".join([*parts, text[: MOST - size]]),
                f" (of which the first {MOST:,} characters were searched).",
            )
        parts.append(text)
        size += len(text) + 1
    return TrainingText("\x00".join(parts), ".")


def longest_copy(text: str, known: str) -> str:
    """The longest piece of `text` that is in `known`; the first of equals. One search of `known` a
    character of `text`.
    """
    best = ""
    start = 0
    while start + len(best) < len(text):
        end = start + len(best) + 1
        while end <= len(text) and text[start:end] in known:
            best = text[start:end]
            end += 1
        start += 1
    return best
