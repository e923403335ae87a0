"""Text in pieces, each shaded by a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lslm_lightning.reports.formatting import number

EDGES = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Shades:
    """Text in pieces, each with a value that selects one of six shades, or None for no shade.
    Pointing at a piece shows its value.

    The bounds of the shades double: below 1, 1 to 2, 2 to 4, 4 to 8, 8 to 16, and above.
    """

    pieces: Sequence[tuple[str, float | None]]
    caption: str = ""
    unit: str = ""
    language: str = "en"

    def shaded(self) -> list[tuple[str, int | None, str]]:
        """Return for each piece its text, its shade (0 to 5, or None), and its value with unit as
        text.
        """
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
        """Text of all pieces joined."""
        return "".join(text for text, _ in self.pieces)

    @property
    def legend(self) -> list[str]:
        """Range of values of each shade, as text."""
        bounds = [f"{edge:g}" for edge in EDGES]
        return [
            f"below {bounds[0]}",
            *(f"{a} to {b}" for a, b in pairwise(bounds)),
            f"{bounds[-1]} {self.unit} or more".strip(),
        ]
