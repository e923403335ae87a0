"""Status line of a piece of work, shortened to the width of a terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from lslm_lightning.localization import MESSAGES, text_width, translated

GAP = "  "
BAR_WIDTHS = range(6, 25)  # columns of a bar; with less room there is none


class Part(NamedTuple):
    """Piece of a status line, in forms of different length.

    Args:
        forms: the same content from long to short; the last one is "" if the piece can be left out.
        ranks: priority of each step from a form to the next shorter one. To shorten a line, the
            step with the highest priority among all parts is taken first.
    """

    forms: tuple[str, ...]
    ranks: tuple[int, ...] = ()


class BarStyle(NamedTuple):
    """Characters for the done and the remaining part of a progress bar."""

    done: str
    left: str


UNICODE_BAR = BarStyle("\u2501", "\u2508")
ASCII_BAR = BarStyle("#", "-")


def fit_line(
    parts: Sequence[Part],
    width: int | None = None,
    share: float | None = None,
    style: BarStyle = ASCII_BAR,
) -> str:
    """Join parts, in the language of the interface, to a status line of at most `width` columns.

    Args:
        width: columns available; None for no limit and no bar.
        share: share of the work that is done, in [0, 1]; None if unknown. If there is room, a bar
            of this share follows the first part.
    """
    forms = [0] * len(parts)

    def joined() -> list[str]:
        given = [text for i, part in enumerate(parts) if (text := part.forms[forms[i]])]
        return [translated(text, MESSAGES) for text in given]

    if width is None:
        return GAP.join(joined())
    while text_width(GAP.join(joined())) > width:
        shorter = [i for i, part in enumerate(parts) if forms[i] + 1 < len(part.forms)]
        if not shorter:
            return GAP.join(joined())[: max(0, width)]
        forms[max(shorter, key=lambda i: parts[i].ranks[forms[i]])] += 1
    pieces = joined()
    room = min(width - text_width(GAP.join(pieces)) - len(GAP), BAR_WIDTHS[-1])
    if share is not None and room in BAR_WIDTHS:
        n_done = round(room * min(1.0, max(0.0, share)))
        pieces.insert(1, style.done * n_done + style.left * (room - n_done))
    return GAP.join(pieces)


def clock_time(seconds: float) -> str:
    """Return a duration in seconds as m:ss, or h:mm:ss from one hour on."""
    minutes, second = divmod(round(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def short_count(number: float) -> str:
    """Return a count in at most five characters: "987", "12.3k", "4.56M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f}{letter}"
    return f"{number:.0f}"
