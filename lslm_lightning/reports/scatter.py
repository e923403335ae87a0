"""Scatter plot of quality against cost, to choose a system for a budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lslm_lightning.localization import Term
from lslm_lightning.reports.axes import (
    PlotFrame,
    Point,
    axes,
    extent,
    powers,
    text_width,
    ticks_around,
    ticks_within,
)
from lslm_lightning.reports.blocks import Cell, Heading, Table
from lslm_lightning.reports.words import named

LINE = 13.0  # height of a name
HALF_MARK = 5.0  # half the size of a mark


class Mark(NamedTuple):
    """Drawn system: its point, its name, and the position of the name.

    `name_at` is the start of the name, or its end if `end` is True. `best` is True if the system is
    on the Pareto front.
    """

    at: Point
    name: str
    name_at: Point
    end: bool
    best: bool


@dataclass(frozen=True, slots=True)
class Scatter:
    """Scatter plot of systems as points (cost, quality). A line joins the systems on the Pareto
    front, for which no other system is both cheaper and better.

    A system without cost or quality is shown in the table, but not in the figure. The horizontal
    axis is logarithmic if all costs are positive and span more than a factor of ten.
    """

    points: Mapping[str, tuple[float, float]]
    x: Heading
    y: Heading
    caption: str = ""

    def finite(self) -> dict[str, tuple[float, float]]:
        """Return the points whose cost and quality are both finite."""
        return {
            name: point for name, point in self.points.items() if all(map(math.isfinite, point))
        }

    def front(self) -> list[str]:
        """Return the systems on the Pareto front, the cheapest first. Systems with equal cost and
        quality are all included.
        """
        sign = 1 if self.y.higher_is_better else -1
        best = (math.nan, -math.inf)
        found = []
        for name, (cost, quality) in sorted(
            self.finite().items(), key=lambda item: (item[1][0], -sign * item[1][1])
        ):
            if sign * quality > best[1] or (cost, sign * quality) == best:
                best = (cost, sign * quality)
                found.append(name)
        return found

    def drawing(self) -> tuple[PlotFrame, list[Mark], str]:
        """Return the frame of the plot, the marks, and the SVG path of the Pareto front, which is
        "" for fewer than two points.
        """
        points = self.finite()
        front = self.front()
        costs = [cost for cost, _ in points.values()]
        log = bool(costs) and min(costs) > 0 and max(costs) > 10 * min(costs)
        low, high = extent([math.log10(cost) for cost in costs] if log else [0.0, *costs])
        spare = 0.05 * (high - low)
        low = low - spare if log else low
        high = high + spare
        y_low, y_high = extent([quality for _, quality in points.values()])
        ticks = (
            [math.log10(p) for p in powers(10**low, 10**high) if low <= math.log10(p) <= high]
            if log
            else ticks_within(low, high)
        )
        frame, to_drawing = axes((low, high), ticks, ticks_around(y_low, y_high), self.y.name)
        if log:
            frame = frame._replace(
                x_ticks=[
                    tick._replace(label=power_label(at))
                    for tick, at in zip(frame.x_ticks, ticks, strict=True)
                ]
            )
        at = {
            name: to_drawing(math.log10(cost) if log else cost, quality)
            for name, (cost, quality) in points.items()
        }
        marks = [
            Mark(at[name], named(name), xy, end, name in front)
            for name, (xy, end) in name_positions(at, frame.width).items()
        ]
        path = "".join(
            f"{'M' if i == 0 else 'L'}{at[name][0]:.1f} {at[name][1]:.1f}"
            for i, name in enumerate(front)
        )
        return frame, marks, path if len(front) > 1 else ""

    def table(self) -> Table:
        """Return the points as a table with a column that marks the Pareto front."""
        front = self.front()
        rows: list[list[Cell]] = [
            [
                name,
                *(v if math.isfinite(v) else None for v in point),
                Term("yes") if name in front else "",
            ]
            for name, point in self.points.items()
        ]
        return Table(["system", self.x, self.y, "on the front"], rows, self.caption)


def name_positions(marks: Mapping[str, Point], width: float) -> dict[str, tuple[Point, bool]]:
    """Return a position for the name of each system, such that it hides no other name or mark if
    possible.

    A position is ((x, y), end): x is the start of the name, or its end if `end` is True; y is the
    middle of the line. Positions beside the mark are tried first, then higher and lower ones.

    Args:
        marks: point of each system.
        width: width of the drawing, which no name may exceed.
    """
    taken = [
        (x - HALF_MARK, y - HALF_MARK, x + HALF_MARK, y + HALF_MARK) for x, y in marks.values()
    ]
    found: dict[str, tuple[Point, bool]] = {}
    for name, (x, y) in sorted(marks.items(), key=lambda item: item[1][1]):
        size = text_width(named(name))
        candidates = [(x + 8, y + dy * LINE, False) for dy in (0, -1, 1, -2, 2, -3, 3)] + [
            (x - 8, y + dy * LINE, True) for dy in (0, -1, 1, -2, 2)
        ]
        boxes = [
            (px - size * end, py - LINE / 2, px + size * (not end), py + LINE / 2)
            for px, py, end in candidates
        ]
        inside = [i for i, box in enumerate(boxes) if box[0] >= 0 and box[2] <= width]
        free = [i for i in inside if not any(overlaps(boxes[i], other) for other in taken)]
        best = next(iter(free or inside), 0)
        taken.append(boxes[best])
        found[name] = ((candidates[best][0], candidates[best][1]), candidates[best][2])
    return {name: found[name] for name in marks}


def overlaps(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Return whether two boxes (left, top, right, bottom) overlap."""
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def power_label(exponent: float) -> str:
    """Return 10 to the power of the rounded exponent as a label: "0.01", "100", "10⁶"."""
    power = round(exponent)
    if -3 < power < 5:
        return f"{10.0**power:,g}"
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
