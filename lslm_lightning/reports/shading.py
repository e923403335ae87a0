"""A text whose pieces are shaded by a number each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lslm_lightning.reports.numerals import number

EDGES = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Shades:
    """Pieces that make up a text, each with a value, which chooses one of six shades (None: no
    shade); a pointer at rest shows the value.

    Shades double: below 1, 1 to 2, 2 to 4, 4 to 8, 8 to 16, more.
    """

    pieces: Sequence[tuple[str, float | None]]
    caption: str = ""
    unit: str = ""
    language: str = "en"

    def shaded(self) -> list[tuple[str, int | None, str]]:
        """Text, shade (0 to 5), and the value in words."""
        return [
            (
                text,
                None if value is None else sum(value >= edge for edge in EDGES),
                "" if value is None else f"{number(value)} {self.unit}",
            )
            for text, value in self.pieces
        ]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    @property
    def legend(self) -> list[str]:
        """What each shade stands for."""
        bounds = [f"{edge:g}" for edge in EDGES]
        return [
            f"below {bounds[0]}",
            *(f"{a} to {b}" for a, b in pairwise(bounds)),
            f"{bounds[-1]} {self.unit} or more".strip(),
        ]
