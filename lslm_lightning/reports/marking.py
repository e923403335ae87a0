"""Text with two marked spans: the expected answer and the answer given by a system."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WANTED = "wanted"
GIVEN = "given"


@dataclass(frozen=True, slots=True)
class MarkedText:
    """Text with the expected answer and the given answer marked.

    `wanted` and `given` are character spans [start, end), or None; they may overlap. `caption` is
    data, such as the question. `words` is a remark of one or several sentences, for example that
    the answer does not occur in the text. `language` is a BCP 47 code.
    """

    text: str
    wanted: tuple[int, int] | None = None
    given: tuple[int, int] | None = None
    caption: str = ""
    words: str | Sequence[str] = ""
    language: str = "en"

    def pieces(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return the text in pieces, each with the marks on it: "wanted", "given", both or none."""
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
