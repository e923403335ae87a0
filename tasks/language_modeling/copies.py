"""Verbatim copies of training text in generated text."""

from collections.abc import Iterable
from typing import NamedTuple

MOST = 20_000_000  # maximal number of characters that are searched


class TrainingText(NamedTuple):
    """Training text as one string for fast search, with a note that states how much of it is
    searched.
    """

    text: str
    note: str


def searchable(texts: Iterable[str]) -> TrainingText:
    """Join texts by a character that occurs in none of them, up to the first 20 million
    characters.
    """
    parts: list[str] = []
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
    """Return the longest substring of `text` that occurs in `known`; of equally long ones, the
    first in `text`.

    It takes about one search of `known` for each character of `text`.
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
