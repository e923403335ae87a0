"""Figure of the scores of several systems with their confidence intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lslm_lightning.contracts import Score
from lslm_lightning.reports.axes import WIDTH, Tick, extent, text_width, ticks_around
from lslm_lightning.reports.blocks import Cell, Interval, Measure, Table
from lslm_lightning.reports.formatting import decimals, number
from lslm_lightning.reports.scores import heading_of
from lslm_lightning.reports.words import named

SIDE = 14.0  # room beside the axis
ROW = 34.0  # height of a system
BOTTOM = 22.0  # room for labels below


class Bar(NamedTuple):
    """Geometry of one score: name and value, vertical position, and x of the value and of both
    bounds.
    """

    name: str
    value: str
    y: float
    x: float
    low: float
    high: float
    is_own: bool


class IntervalDrawing(NamedTuple):
    """Geometry of the figure: bars, the best first, and the axis below them."""

    width: float
    height: float
    ticks: list[Tick]
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Scores of several systems in one metric with their 95 % intervals, the best first.

    The system `own` has the accent colour. Scores that are not finite are left out.
    """

    scores: Mapping[str, Score]
    own: str = ""

    @property
    def caption(self) -> str:
        """Name and unit of the metric, and the better direction."""
        heading = heading_of(next(iter(self.scores.values())))
        unit = f", {heading.shown_unit}" if heading.shown_unit else ""
        has_bounds = any(bounds(score) for score in self.scores.values())
        intervals = ", with 95 % intervals" if has_bounds else ""
        direction = "higher" if heading.higher_is_better else "lower"
        return f"{heading.name}{unit}{intervals} ({direction} is better)"

    def ordered(self) -> dict[str, Score]:
        """Return the finite scores by system, the best first."""
        finite = {n: score for n, score in self.scores.items() if math.isfinite(score.value)}
        sign = -1 if next(iter(self.scores.values())).higher_is_better else 1
        return dict(sorted(finite.items(), key=lambda item: sign * item[1].value))

    def drawing(self) -> IntervalDrawing:
        """Return the geometry of the figure."""
        ordered = self.ordered()
        ends = [x for score in ordered.values() for x in (score.value, *bounds(score))]
        ticks = ticks_around(*extent(ends), 5)
        first = ticks[0]
        last = ticks[-1]
        places = decimals([score.value for score in ordered.values()])

        def at(value: float) -> float:
            return SIDE + (value - first) / (last - first) * (WIDTH - 2 * SIDE)

        bars = []
        for i, (name, score) in enumerate(ordered.items()):
            low, high = map(at, bounds(score) or (score.value, score.value))
            value = number(score.value, places)
            fitting = shortened(named(name), WIDTH - text_width(value, 12) - 12)
            y = i * ROW + 24
            bars.append(Bar(fitting, value, y, at(score.value), low, high, name == self.own))
        step = ticks[1] - ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        labels = [Tick(at(tick), number(tick, digits if digits < 5 else None)) for tick in ticks]
        return IntervalDrawing(WIDTH, len(bars) * ROW + BOTTOM, labels, bars)

    def table(self) -> Table:
        """Return the scores and intervals as a table."""
        places = decimals([score.value for score in self.ordered().values()])
        rows: list[list[Cell]] = []
        for name, score in self.ordered().items():
            ends = bounds(score)
            interval = Interval(ends[0], ends[1], places) if ends else None
            rows.append([name, Measure(score.value, None, places), interval])
        heading = heading_of(next(iter(self.scores.values())))
        return Table(["system", heading, "95 % interval"], rows, self.caption)


def bounds(score: Score) -> tuple[float, ...]:
    """Return the lower and upper bound of the interval of a score; an empty tuple if it has no
    interval.
    """
    found = () if score.low is None or score.high is None else (score.low, score.high)
    return found if all(map(math.isfinite, found)) else ()


def shortened(name: str, width: float) -> str:
    """Return the name, cut to fit into `width` units of the drawing."""
    if text_width(name) <= width:
        return name
    while name and text_width(name + "…") > width:
        name = name[:-1]
    return name + "…"
