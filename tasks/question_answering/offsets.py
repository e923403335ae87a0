"""Conversion between character offsets and token spans of answers in a passage."""

from collections.abc import Sequence

import numpy as np


def nearest_occurrence(passage: str, answer: str, start: int) -> int | None:
    """Return the character offset of the occurrence of `answer` in `passage` nearest to `start`; of
    two equally near, the first. None if there is none.
    """
    best = None
    at = passage.find(answer)
    while at >= 0 and (best is None or abs(at - start) < abs(best - start)):
        best = at
        at = passage.find(answer, at + 1)
    return best


def overlapping_tokens(
    offsets: Sequence[tuple[int, int]], start: int, end: int
) -> tuple[int, int] | None:
    """Return the indices of the first and last token that overlap the characters [start, end); None
    if no token does.

    Args:
        offsets: character span [start, end) of each token, in order.
    """
    inside = [i for i, (low, high) in enumerate(offsets) if low < end and high > start]
    return (inside[0], inside[-1]) if inside else None


def widen(first: int, last: int, begins: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    """Return the smallest span of tokens (first, last) that contains the given span and starts and
    ends at allowed tokens; None if there is none.

    Args:
        begins: (T,) bool, True for tokens with which an answer may begin.
        ends: (T,) bool, True for tokens with which an answer may end.
    """
    starts = [i for i in range(first, -1, -1) if begins[i]][:1]
    stops = [i for i in range(last, len(ends)) if ends[i]][:1]
    return (starts[0], stops[0]) if starts and stops else None


def span_text(passage: str, offsets: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """Return the text of the tokens `first` to `last`, stripped of white space.

    Args:
        offsets: character span [start, end) of each token.
    """
    return passage[offsets[first][0] : offsets[last][1]].strip()
