"""Record of the benchmark `scale` in its shape, with made-up figures."""

import json
from pathlib import Path

from tests.benchmarks.growth import Cost, growth
from tests.benchmarks.scale import SERIES
from tests.support.serving_record import CIRCUMSTANCES

SIZES = (10, 100, 1000, 10_000)


def grown() -> dict[str, dict]:
    """Figures of all series, whose costs are proportional to the size."""
    return {
        name: growth(series, SIZES, [Cost(1.0 * n, 100.0 * n) for n in SIZES])
        for name, series in SERIES.items()
    }


def write_growth(path: Path) -> None:
    """Write a record of all series."""
    record = {
        name: {"figures": figures, "circumstances": CIRCUMSTANCES}
        for name, figures in grown().items()
    }
    path.write_text(json.dumps(record), "utf-8")
