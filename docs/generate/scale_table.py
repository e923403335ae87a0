"""Table of how cost grows with size, made from the figures of the benchmark `scale`."""

from collections.abc import Sequence

from docs.generate.benchmark_tables import Figures, Rows
from lslm_lightning.types import Settings
from tests.benchmarks.benchmark import number


def scale(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return headings and rows: a row for each series, with its range, the costs of the largest
    size, and the fitted exponents beside those of the theory.
    """
    rows: Rows = [
        (
            found["what"],
            f"{found['sizes'][0]:,} – {found['sizes'][-1]:,}",
            number(found["seconds"][-1]),
            exponents(found, "time"),
            f"{found['megabytes'][-1]:,.0f}",
            exponents(found, "memory"),
        )
        for found in figures.values()
    ]
    headings = ("seconds", "exponent, theory", "memory, MB", "exponent, theory")
    return ("work: size", "range", *headings), rows


def exponents(found: Settings, kind: str) -> str:
    """Return the fitted exponent of time or memory and that of the theory; bold if it is worse."""
    fitted, theory = found["exponents"][kind], found["theory"][kind]
    shown = f"**{fitted:.2f}**" if kind in found["worse"] else f"{fitted:.2f}"
    return f"{shown}, {theory:g}"
