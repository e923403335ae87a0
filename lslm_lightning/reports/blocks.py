"""Blocks that a report is made of: plain text and numbers, no markup.

A task's `report.py` fills these blocks and those of `scores.py`, `samples.py` and `figures.py`.
`page.py` turns them into HTML and Markdown, where all text is escaped. A new kind of block needs a
dataclass, and a macro with its lower-case name in `templates/blocks.html` and in
`templates/blocks.md`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import NoneType

from lslm_lightning.reports.formatting import decimals, number


@dataclass(frozen=True, slots=True)
class Code:
    """Text in a monospace font: a command or a configuration as a block, or a digest or a path as a
    value.
    """

    text: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Missing value: shown as a dash, with the reason in a note below."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Lower and upper bound of a number, shown with `places` decimals."""

    low: float
    high: float
    places: int | None = None

    def __str__(self) -> str:
        return f"{number(self.low, self.places)} to {number(self.high, self.places)}"


def interval_of(
    low: float | None, high: float | None, places: int | None = None
) -> Interval | None:
    """Return an interval; None if a bound is None or nan."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return Interval(low, high, places)


@dataclass(frozen=True, slots=True)
class Measure:
    """Number with an optional interval; `best` sets it in bold."""

    value: float
    interval: Interval | None = None
    places: int | None = None
    best: bool = False

    def __str__(self) -> str:
        return number(self.value, self.places)


@dataclass(frozen=True, slots=True)
class Heading:
    """Heading of a column or row: name, unit such as "%" or "seconds", and an arrow up or down for
    the better direction.

    `key` names the column in files for other programs, if that name differs from `name`.
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    key: str = ""

    @property
    def shown_unit(self) -> str:
        """Unit of the column; empty if the name contains it already."""
        return "" if self.unit in (self.name, self.name.replace(" per ", "/")) else self.unit

    @property
    def column(self) -> str:
        """Heading of the column in a file for other programs."""
        unit = "" if self.unit == self.key else self.unit
        return (
            f"{self.key} {unit}".strip() if self.key else f"{self.name} {self.shown_unit}".strip()
        )


Cell = str | float | Real | None | Code | Missing | Interval | Measure | Heading


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraph of text; `language` is a BCP 47 code."""

    text: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Points:
    """List of sentences."""

    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Links:
    """Names of files or pages, which lead there. Addresses are relative to the page."""

    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and their values, as a reference list. None and nan are shown as a dash."""

    facts: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Settings:
    """Names of settings, each with a line of text below it."""

    facts: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """Table whose first column names the rows. Columns of numbers are right-aligned and share one
    number of decimals.

    `places` fixes the number of decimals; by default it depends on the values.
    """

    columns: Sequence[Heading | str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[Cell] = ()
    places: int | None = None

    def headings(self) -> list[Heading]:
        """Return the headings of all columns as `Heading` objects."""
        return [Heading(column) if isinstance(column, str) else column for column in self.columns]

    def numeric(self) -> list[bool]:
        """Return for each column whether all its cells are numbers, intervals or missing values."""
        kinds = (Real, Measure, Interval, Missing, NoneType)
        return [
            all(isinstance(row[i], kinds) and not isinstance(row[i], bool) for row in self.rows)
            for i in range(len(self.columns))
        ]

    def column_places(self) -> list[int | None]:
        """Return for each column the number of decimals that all its floats are shown with."""
        floats = [
            [cell for row in self.rows if isinstance(cell := row[i], float)]
            for i in range(len(self.columns))
        ]
        return [decimals(column) if self.places is None else self.places for column in floats]

    def reasons(self) -> list[str]:
        """Return the distinct reasons for missing values, in order of appearance. They are numbered
        from 1, and the dash of a missing value shows the number.
        """
        return list(
            dict.fromkeys(
                cell.reason for row in self.rows for cell in row if isinstance(cell, Missing)
            )
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """Blocks set side by side if the page is wide enough: small figures of one kind."""

    blocks: Sequence[object]


@dataclass(frozen=True, slots=True)
class Folded:
    """Collapsible block: the title is visible, the blocks are shown on a click or a key."""

    title: str
    blocks: Sequence[object]


@dataclass(frozen=True, slots=True)
class Section:
    """Section of a report: a heading and its blocks."""

    title: str
    blocks: Sequence[object]


@dataclass(frozen=True, slots=True)
class Report:
    """Report page: a title, the result in one sentence (`lead`), and sections.

    `kicker` is the small line above the title, and `date` the line below it. `details` are
    sentences listed below the lead.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    kicker: str = ""
    date: str = ""
    details: Sequence[str] = ()
