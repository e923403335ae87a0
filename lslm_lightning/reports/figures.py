"""Figures as data and geometry: curves, histograms and heatmaps.

A figure holds its numbers. `drawing()` returns the geometry that `templates/figures.html` draws as
inline SVG, and `table()` returns the same numbers for screen readers and Markdown. Figures are not
drawn by matplotlib: here strokes and text take the colours of the page (light, dark and print in
one file), text uses the reader's fonts, Chinese included, the template escapes it, and nothing slow
is imported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from lslm_lightning.localization import Term, Verbatim, verbatim
from lslm_lightning.reports.axes import (
    PlotFrame,
    Point,
    axes,
    extent,
    powers,
    step_of,
    text_width,
    ticks_around,
    ticks_within,
)
from lslm_lightning.reports.blocks import Cell, Heading, Table
from lslm_lightning.reports.formatting import counted, number

MAX_POINTS = 300
MAX_MARKED = 20  # longest curve whose points are drawn one by one


class Line(NamedTuple):
    """Geometry of a series: an SVG path with a gap at every point that is not finite, and the
    points (x, y).

    `dots` are the points drawn as dots: all points of a short series, otherwise none.
    """

    name: str
    path: str
    points: list[Point]
    last: float
    dots: Sequence[Point] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """Curve: `y` over `x`, of equal length and in any order of x. Points that are not finite are
    gaps.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray

    def thinned(self) -> tuple["Series", int]:
        """Return (thinned series, k): the series sorted by x, with each k neighbouring points
        replaced by their mean.

        The result has at most MAX_POINTS points. A mean is nan if one of its points is nan.
        """
        x = np.asarray(self.x, float)
        y = np.asarray(self.y, float)
        order = np.argsort(x, kind="stable")
        k = max(1, math.ceil(len(x) / MAX_POINTS))
        cuts = np.arange(0, len(x), k)
        size = np.diff(np.append(cuts, len(x)))
        if len(x):
            x = np.add.reduceat(x[order], cuts) / size
            y = np.add.reduceat(y[order], cuts) / size
        return Series(self.name, x, y), k


@dataclass(frozen=True, slots=True)
class Curves:
    """Line plot of series over a common horizontal axis. The first series has the accent colour.

    The vertical axis is logarithmic if all values are positive and span more than two powers of
    ten.
    """

    series: Sequence[Series]
    x_label: str = "step"
    y_label: str = ""
    caption: str = ""

    @property
    def note(self) -> str:
        """Sentences about points that are averages and points that are not finite; "" if there are
        none.
        """
        k = max((series.thinned()[1] for series in self.series), default=1)
        n_gap = sum(1 for series in self.series for value in series.y if not math.isfinite(value))
        averaged = f"Each point is the mean of up to {k:,} logged values." if k > 1 else ""
        gaps = f"Values that are not finite leave gaps: {n_gap:,}." if n_gap else ""
        return f"{averaged} {gaps}".strip()

    def drawing(self) -> tuple[PlotFrame, list[Line]]:
        """Return the frame of the plot and its lines."""
        thin = [series.thinned()[0] for series in self.series]
        finite = [
            (x, y)
            for series in thin
            for x, y in zip(series.x, series.y, strict=True)
            if math.isfinite(y)
        ]
        x_low, x_high = extent([x for x, _ in finite])
        x_low = 0.0 if 0 <= x_low < 0.1 * x_high else x_low  # steps count from zero
        y_low, y_high = extent([y for _, y in finite])
        log = y_low > 0 and y_high > 100 * y_low
        y_ticks = powers(y_low, y_high) if log else ticks_around(y_low, y_high)
        y_label = f"{self.y_label} (log scale)".strip() if log else self.y_label
        frame, to_drawing = axes(
            (x_low, x_high), ticks_within(x_low, x_high), y_ticks, y_label, log
        )
        return frame, [_line(series, to_drawing) for series in thin]

    def table(self) -> Table:
        """Return a table with the first, last, lowest and highest value of each series."""
        columns = [
            "series",
            "points",
            "first",
            "last",
            "lowest",
            f"at {self.x_label}",
            "highest",
            f"at {self.x_label}",
        ]
        return Table(columns, [_summary(series) for series in self.series], self.caption)


def _line(series: Series, to_drawing: Callable[[float, float], Point]) -> Line:
    """Return the SVG path and the points of a curve."""
    pairs = list(zip(series.x, series.y, strict=True))
    points = []
    path = ""
    for finite, run in groupby(pairs, lambda pair: math.isfinite(pair[1])):
        if finite:
            part = [to_drawing(*pair) for pair in run]
            # h0: a dot
            path += (
                "M"
                + "L".join(f"{x:.1f} {y:.1f}" for x, y in part)
                + ("h0" if len(part) == 1 else "")
            )
            points += part
    dots = points if len(points) <= MAX_MARKED else ()
    return Line(series.name, path, points, float(series.y[-1]) if pairs else math.nan, dots)


def _summary(series: Series) -> list[Cell]:
    """Return the table row of a curve: number of points, first, last, lowest and highest value."""
    x = np.asarray(series.x, float)
    y = np.asarray(series.y, float)
    finite = np.isfinite(y)
    if not finite.any():
        return [series.name, len(y), *[None] * 6]
    x = x[finite]
    y = y[finite]
    first = x.argmin()
    last = len(x) - 1 - x[::-1].argmax()
    low = y.argmin()
    high = y.argmax()
    numbers = [y[first], y[last], y[low], x[low], y[high], x[high]]
    return [
        series.name,
        len(finite),
        *(int(value) if value == int(value) else float(value) for value in numbers),
    ]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram of several named sets of values over common bins, one outline for each name.
    Heights are percentages of the values of a name.

    The first name has the accent colour. Values that are not finite are ignored.
    """

    values: Mapping[str, Sequence[float]]
    x_label: str
    caption: str = ""

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, evenly spaced by a round number. If all values are integers, the edges
        lie between integers.
        """
        every = np.concatenate(
            [_finite(values) for values in self.values.values()] or [np.zeros(0)]
        )
        low, high = (every.min(), every.max()) if every.size else (0.0, 1.0)
        step = step_of(high - low, 24) if high > low else 1.0
        whole = bool((every == np.floor(every)).all())
        step = max(1.0, step) if whole else step
        return np.arange(math.floor(low / step), math.floor(high / step) + 2) * step - whole / 2

    def shares(self) -> dict[str, np.ndarray]:
        """Return for each name the percentage of its values in each bin."""
        counts = {
            name: np.histogram(_finite(values), self.edges)[0]
            for name, values in self.values.items()
        }
        return {name: 100 * count / max(1, count.sum()) for name, count in counts.items()}

    def drawing(self) -> tuple[PlotFrame, list[Line]]:
        """Return the frame of the plot and an outline for each name."""
        shares = self.shares()
        edges = self.edges
        top = max((share.max() for share in shares.values()), default=1.0)
        frame, to_drawing = axes(
            (edges[0], edges[-1]),
            ticks_within(edges[0], edges[-1], 6),
            ticks_around(0.0, top or 1.0),
            "% of texts",
        )
        lines = []
        for name, share in shares.items():
            corners = [to_drawing(edges[0], 0.0)]
            for i, value in enumerate(share):
                corners += [to_drawing(edges[i], value), to_drawing(edges[i + 1], value)]
            corners.append(to_drawing(edges[-1], 0.0))
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
            values = _finite(self.values[name])
            lines.append(
                Line(name, path, corners, float(values.mean()) if values.size else math.nan)
            )
        return frame, lines

    def table(self) -> Table:
        """Return the percentages as a table with a row for each bin."""
        edges = self.edges
        shares = self.shares()
        names = [Term(_bin_name(float(low), float(high))) for low, high in pairwise(edges)]
        rows: list[list[Cell]] = [
            [name, *(float(share[i]) for share in shares.values())] for i, name in enumerate(names)
        ]
        counts = {name: len(_finite(values)) for name, values in self.values.items()}
        headings = [
            Heading(verbatim(name), f"% of {counted(n, 'text')}") for name, n in counts.items()
        ]
        return Table([self.x_label, *headings], rows, self.caption, places=1)


def _finite(values: Sequence[float] | Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Return the finite values as a flat array."""
    array = np.asarray(values, float)
    finite: np.ndarray = array[np.isfinite(array)]
    return finite


def _bin_name(low: float, high: float) -> str:
    """Return the range of a bin as text, such as "3", "3 to 4" or "0.5 to <1"."""
    if low % 1 != 0.5:
        return f"{number(low)} to <{number(high)}"
    first = int(low + 0.5)
    last = int(high - 0.5)
    return number(first) if first == last else f"{number(first)} to {number(last)}"


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Matrix drawn in shades of the accent colour, such as attention weights.

    `values` (R, C) are 0 or above, or nan for an empty cell. Each row and each column has a label,
    such as a token. `row_name` and `column_name` are the titles of the two axes. The languages are
    BCP 47 codes, which select the glyphs.
    """

    values: Sequence[Sequence[float]] | np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    row_name: str = "output"
    column_name: str = "source"
    caption: str = ""
    row_language: str = "en"
    column_language: str = "en"

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        if shape != (len(self.rows), len(self.columns)):
            labels = (len(self.rows), len(self.columns))
            raise ValueError(
                f"values of shape {shape} must have one label for each row and column, but rows "
                f"and columns number {labels}"
            )

    @property
    def strongest(self) -> float:
        """Largest finite value; it is drawn in the darkest shade."""
        return float(_finite(self.values).max(initial=0.0))

    def drawing(self) -> "HeatmapDrawing":
        """Return the cells with their shades and labels."""
        values = np.asarray(self.values, float)
        top = self.strongest or 1.0
        shades = [
            [max(0.0, float(value / top)) if math.isfinite(value) else None for value in row]
            for row in values
        ]
        rows, columns = (
            [_shortened(label) for label in labels] for labels in (self.rows, self.columns)
        )
        upright = all(len(label) == 1 for label in columns)
        left, head = (
            max((text_width(label, 12) for label in labels), default=0) + 10
            for labels in (rows, columns)
        )
        size = min(24.0, max(15.0, 640 / max(1, len(columns))))
        return HeatmapDrawing(left, 20 if upright else head, size, shades, rows, columns, upright)

    def table(self) -> Table:
        """Return the values as a table."""
        rows: list[list[Cell]] = [
            [label, *map(float, row)] for label, row in zip(self.rows, self.values, strict=True)
        ]
        columns = [f"{self.row_name} \\ {self.column_name}", *map(Verbatim, self.columns)]
        return Table(columns, rows, self.caption, places=2)


class HeatmapDrawing(NamedTuple):
    """Geometry of a heatmap: cells of `size` by `size` units, the first one at (left, head).

    `shades` (R, C) are from 0 to 1, or None for an empty cell. `upright` is True if all column
    labels are single characters.
    """

    left: float
    head: float
    size: float
    shades: list[list[float | None]]
    rows: list[str]
    columns: list[str]
    upright: bool

    @property
    def width(self) -> float:
        """Width of the drawing."""
        return self.left + self.size * len(self.columns) + 4

    @property
    def height(self) -> float:
        """Height of the drawing."""
        return self.head + self.size * len(self.rows) + 4


def _shortened(label: str, n: int = 14) -> str:
    """Return a label cut to at most n characters, with line breaks as visible symbols."""
    label = label.replace("\n", "⏎")
    return label if len(label) <= n else label[: n - 1] + "…"
