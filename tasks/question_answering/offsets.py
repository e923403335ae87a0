"""Character offsets and token spans of answers in their passages."""

from collections.abc import Sequence

import numpy as np


def nearest_occurrence(passage: str, answer: str, start: int) -> int | None:
    """Return the character offset of the occurrence of `answer` in `passage` that is nearest to
    `start`, of two the first; None if there is none.
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
    """Return the indices of the first and the last token that overlap the characters [start, end);
    None if none does.

    Args:
        offsets: the characters [start, end) of each token, in order.
    """
    inside = [i for i, (low, high) in enumerate(offsets) if low < end and high > start]
    return (inside[0], inside[-1]) if inside else None


def widen(first: int, last: int, begins: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    """Return the smallest span of tokens around `first` to `last` that starts and ends at allowed
    tokens; None if there is none.

    Args:
        begins, ends: (T,) bool, whether an answer may begin, and end, with each token.
    """
    starts = [i for i in range(first, -1, -1) if begins[i]][:1]
    stops = [i for i in range(last, len(ends)) if ends[i]][:1]
    return (starts[0], stops[0]) if starts and stops else None


def span_text(passage: str, offsets: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """Return the text of the tokens `first` to `last`, stripped of white space."""
    return passage[offsets[first][0] : offsets[last][1]].strip()
