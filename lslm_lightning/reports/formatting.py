"""Number formatting: four significant digits, grouped thousands, a true minus sign, and a dash for
missing values.
"""

import math
from collections.abc import Iterable
from numbers import Integral

DASH = "–"
SIGNIFICANT = 4


def decimals(values: Iterable[float | None]) -> int | None:
    """Return a common number of decimals for `values`, which gives the largest of them four
    significant digits.

    None if no value is finite, or if the values differ by more than a factor of a thousand.
    """
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes or max(sizes) > 1000 * min(sizes):
        return None
    return max(0, SIGNIFICANT - 1 - math.floor(math.log10(max(sizes))))


def number(value: float | None, places: int | None = None) -> str:
    """Return a number as text with `places` decimals; by default with as many as four significant
    digits need: 12,345 and 37.24 and −0.512 and 3.2 × 10⁻⁶.

    nan and None are a dash, infinity is ∞, and integers have no decimal point.
    """
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if places is None and 0 < abs(value) < 1e-4:
        factor, power = f"{value:.1e}".split("e")
        text = f"{factor} × 10" + str(int(power)).translate(
            str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
        )
    elif isinstance(value, Integral) or value == 0:
        text = f"{int(value):,}" if isinstance(value, Integral) else f"{value:.{places or 0}f}"
    elif places is None:
        text = f"{value:,.{decimals([value])}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:,.{places}f}"
    return text.replace("-", "−", 1)


def counted(n: int, noun: str) -> str:
    """Return a count with its noun: "1 example", "1,000 examples"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return seconds as "42.1 s", "12 min 3 s" or "2 h 5 min"."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
