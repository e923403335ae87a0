"""Axes of figures: round tick values, and the function that maps data to drawing coordinates, in
units of the SVG view box.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lslm_lightning.reports.formatting import number

# size in CSS pixels, at which figures are designed
WIDTH = 360
HEIGHT = 224
TOP = 8  # room at the top
NAMED = 28  # room at the top for the name of the vertical axis
BOTTOM = 24  # room for the labels of the horizontal axis
RIGHT = 10  # room for half of such a label
Point = tuple[float, float]


class Tick(NamedTuple):
    """Tick of an axis: its drawing coordinate `at` along the axis, and its label."""

    at: float
    label: str


class PlotFrame(NamedTuple):
    """Geometry of a plot: size of the drawing, left edge of the plotting area, ticks of both axes,
    and label of the vertical axis.
    """

    width: float
    height: float
    left: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    y_label: str


def step_of(span: float, n: int) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) that divides `span` into at most `n`
    parts.
    """
    rough = span / n
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def ticks_within(low: float, high: float, n: int = 5) -> list[float]:
    """Return round numbers in [low, high], evenly spaced, at most n + 1 of them."""
    step = step_of(high - low, n)
    return [
        i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def ticks_around(low: float, high: float, n: int = 4) -> list[float]:
    """Return round numbers, evenly spaced, from at most `low` to at least `high`."""
    step = step_of(high - low, n)
    return [
        i * step for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    ]


def powers(low: float, high: float) -> list[float]:
    """Return evenly spaced powers of ten that enclose [low, high], at most seven."""
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    stride = math.ceil((last - first) / 5)
    return [10.0**power for power in range(first, last + stride, stride)]


def extent(values: Sequence[float]) -> tuple[float, float]:
    """Return (smallest, largest) of `values`.

    If all values are equal, the range is widened around them. Without values it is (0, 1).
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    spare = abs(low) / 10 or 1.0
    return (low, high) if high > low else (low - spare, high + spare)


def axes(
    x_range: tuple[float, float],
    x_ticks: list[float],
    y_ticks: list[float],
    y_label: str = "",
    log: bool = False,
) -> tuple[PlotFrame, Callable[[float, float], Point]]:
    """Return the frame of a plot, and the function that maps data (x, y) to a point of the drawing.

    The vertical axis runs from the first to the last of `y_ticks`.

    Args:
        x_range: data at the left and at the right end of the horizontal axis.
        log: make the vertical axis logarithmic.
    """
    y_texts = [number(value) for value in y_ticks] if log else _labels(y_ticks)
    left = max(map(text_width, y_texts)) + 8
    top = NAMED if y_label else TOP
    scale = math.log10 if log else float
    (x_low, x_high) = x_range
    y_low = scale(y_ticks[0])
    y_high = scale(y_ticks[-1])

    def to_drawing(x: float, y: float) -> Point:
        across = (x - x_low) / (x_high - x_low)
        up = (scale(y) - y_low) / (y_high - y_low)
        return left + across * (WIDTH - RIGHT - left), HEIGHT - BOTTOM - up * (
            HEIGHT - BOTTOM - top
        )

    x_labels = [
        Tick(to_drawing(value, y_ticks[0])[0], label)
        for value, label in zip(x_ticks, _labels(x_ticks), strict=True)
    ]
    y_labels = [
        Tick(to_drawing(x_low, value)[1], label)
        for value, label in zip(y_ticks, y_texts, strict=True)
    ]
    return PlotFrame(WIDTH, HEIGHT, left, x_labels, y_labels, y_label), to_drawing


def _labels(values: list[float]) -> list[str]:
    step = values[1] - values[0] if len(values) > 1 else 1
    n_decimal = max(0, -math.floor(math.log10(step) + 1e-9))
    return [number(value, n_decimal) if n_decimal < 5 else number(value) for value in values]


def text_width(text: str, size: float = 11) -> float:
    """Return the approximate width of a text in a sans serif font of `size`, in the unit of `size`.
    A Chinese character is one em wide.
    """
    return size * sum(map(_em, text))


def _em(character: str) -> float:
    if ord(character) >= 0x2E80:
        return 1.0
    if character in "iljtfrI.,:;'|":
        return 0.3
    if character in "mwMW@%":
        return 0.9
    return 0.7 if character.isupper() else 0.58
