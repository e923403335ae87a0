"""A text in which two things are marked: what was wanted, and what was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WANTED = "wanted"
GIVEN = "given"


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text, the characters [start, end) that were wanted and those that were given; either may be
    none, and they may overlap.

    `words` say what else there is to know, such as an answer that is not in the text. `language` is
    a BCP 47 code.
    """

    text: str
    wanted: tuple[int, int] | None = None
    given: tuple[int, int] | None = None
    caption: str = ""
    words: str = ""
    language: str = "en"

    def pieces(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """The text in order, each piece with its marks."""
        spans = {WANTED: self.wanted, GIVEN: self.given}
        edges = sorted(
            {0, len(self.text), *(edge for span in spans.values() if span for edge in span)}
        )
        return [
            (
                self.text[start:end],
                tuple(
                    name
                    for name, span in spans.items()
                    if span and span[0] <= start and end <= span[1]
                ),
            )
            for start, end in pairwise(edges)
        ]
