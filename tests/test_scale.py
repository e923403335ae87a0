"""The benchmark `scale`: exponents are those of known laws, growth beyond the theory is told, and
pages name every part.
"""

import random
from importlib import import_module

import numpy as np
import pytest

from docs.generate.language import language_of_texts, localized
from docs.generate.scale_table import scale as table_of
from tests.benchmarks.growth import (
    SMALL_MEGABYTES,
    TOLERANCE,
    Cost,
    Series,
    checks_of,
    exponent,
    growth,
    measured,
)
from tests.benchmarks.scale import BENCHMARK, SERIES, smoke_sizes
from tests.support.documents import SITE
from tests.support.growth_record import SIZES, grown


@pytest.mark.parametrize("power", [0, 0.5, 1, 1.5, 2, 3])
def test_the_exponent_of_a_power_law_is_found(power: float) -> None:
    assert exponent(SIZES, [7.5 * size**power for size in SIZES]) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("power", [1, 2])
def test_what_every_size_costs_hides_no_growth(power: float) -> None:
    """The lower half, where that outweighs the rest, is left out."""
    costs = [100 + size**power for size in SIZES]
    assert power - TOLERANCE < exponent(SIZES, costs) <= power


def test_noise_of_a_tenth_stays_within_the_tolerance() -> None:
    chance = random.Random(0)
    sizes = [1000 * 2**i for i in range(5)]
    for _ in range(100):
        costs = [size * chance.uniform(0.95, 1.05) for size in sizes]
        assert abs(exponent(sizes, costs) - 1) < TOLERANCE


def test_two_sizes_are_enough() -> None:
    assert exponent((1, 2), (3, 12)) == pytest.approx(2)


def figures(time: float, memory: float, series: Series) -> dict:
    return growth(series, SIZES, [Cost(1e-3 * n**time, 100 * n**memory) for n in SIZES])


def test_growth_beyond_the_theory_is_told() -> None:
    series = Series("work: size", "none", SIZES, time=1, memory=0)
    assert figures(1.1, 0.1, series)["worse"] == []
    assert figures(1.2, 0.1, series)["worse"] == ["time"]
    assert figures(0.5, 0.2, series)["worse"] == ["memory"]
    reached = [check.reached for check in checks_of(series, figures(1.2, 0, series))]
    assert reached == [False, True]


def test_a_documented_limit_is_told_and_passes() -> None:
    series = Series("work: size", "none", SIZES, documented={"memory": 2})
    found = figures(1, 2, series)
    assert found["worse"] == ["memory"]
    assert all(check.reached for check in checks_of(series, found))


def test_memory_that_allocators_take_in_pieces_is_no_growth() -> None:
    series = Series("work: size", "none", SIZES, memory=0)
    small = [Cost(1.0 * n, SMALL_MEGABYTES * n / 10_000) for n in SIZES]
    assert growth(series, SIZES, small)["worse"] == []


@pytest.mark.slow
def test_memory_is_what_the_work_adds_at_most() -> None:
    kept = np.ones(40_000_000 // 8)
    cost = measured(lambda: np.ones(80_000_000 // 8))
    assert 79 <= cost.megabytes < 80 + SMALL_MEGABYTES  # the system counts pages in batches
    again = measured(lambda: len(kept))
    assert again.megabytes < SMALL_MEGABYTES, "the peak of the work before is forgotten"


def test_a_work_is_done_once_if_it_may_not_be_repeated() -> None:
    done: list[int] = []
    measured(lambda: done.append(1))
    assert len(done) == 1


@pytest.mark.slow
def test_every_series_has_its_work() -> None:
    named = {(series.module, name) for name, series in SERIES.items()}
    modules = {module: import_module(f"tests.benchmarks.{module}") for module, _ in named}
    assert named == {(module, name) for module, found in modules.items() for name in found.BUILDS}
    assert BENCHMARK.parts.keys() == SERIES.keys()


def test_sizes_rise_and_what_may_grow_is_below_them() -> None:
    for name, series in SERIES.items():
        assert list(series.sizes) == sorted(set(series.sizes)), name
        assert len(series.sizes) >= 3, name
        assert max(smoke_sizes(series.sizes)) < max(series.sizes), name


def test_pages_name_every_part_in_both_languages() -> None:
    headings, rows = table_of(grown())
    assert len({row[0] for row in rows}) == len(SERIES)
    assert {len(row) for row in rows} == {len(headings)}
    with language_of_texts("zh"):
        for text in (*headings, *(row[0] for row in rows)):
            assert localized(text) != text, text


def test_limits_of_growth_are_documented() -> None:
    """A series that may grow faster than its theory is among the limits, in both languages."""
    assert [name for name, series in SERIES.items() if series.documented] == ["context_alibi"]
    for language in ("en", "zh"):
        text = (SITE / language / "limits.md").read_text("utf-8")
        assert "`ALiBi`" in text, language
