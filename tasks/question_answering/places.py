"""Where an answer stands in its passage."""

from collections.abc import Sequence


def nearest(passage: str, answer: str, start: int) -> int | None:
    """The character at which `answer` begins in `passage`, of several places that nearest to
    `start`, of equals the first; None of none.
    """
    best = None
    at = passage.find(answer)
    while at >= 0 and (best is None or abs(at - start) < abs(best - start)):
        best = at
        at = passage.find(answer, at + 1)
    return best


def tokens_of(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The first and the last token that have a character of [start, end); None where there is none.

    Args:
        offsets: the characters [start, end) of each token, none before those of the token before.
    """
    inside = [i for i, (low, high) in enumerate(offsets) if low < end and high > start]
    return (inside[0], inside[-1]) if inside else None


def widened(
    first: int, last: int, begins: Sequence[bool], ends: Sequence[bool]
) -> tuple[int, int] | None:
    """The nearest tokens around these with which an answer may begin and end; None where there are
    none.

    Args:
        begins, ends: of each token whether an answer may begin, and end, with it.
    """
    starts = [i for i in range(first, -1, -1) if begins[i]][:1]
    stops = [i for i in range(last, len(ends)) if ends[i]][:1]
    return (starts[0], stops[0]) if starts and stops else None


def text_of(passage: str, offsets: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """What the tokens from `first` to `last` stand for, without white space around it."""
    return passage[offsets[first][0] : offsets[last][1]].strip()
