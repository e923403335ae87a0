import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.reports.axes import (
    BOTTOM,
    HEIGHT,
    RIGHT,
    WIDTH,
    axes,
    extent,
    powers,
    step_of,
    ticks_around,
    ticks_within,
)

RANGE = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@pytest.mark.slow
@given(RANGE, st.integers(2, 8))
def test_ticks_are_round_and_evenly_spaced(ends, n):
    low, high = ends
    step = step_of(high - low, n)
    assert float(f"{step:.0e}"[0]) in (1, 2, 5)
    inside = ticks_within(low, high, n)
    outside = ticks_around(low, high, n)
    slack = 1e-6 * step
    assert len(inside) <= n + 1
    assert all(low - slack <= tick <= high + slack for tick in inside)
    assert outside[0] <= low + slack
    assert outside[-1] >= high - slack
    assert all(
        math.isclose(tick / step, round(tick / step), abs_tol=1e-6) for tick in inside + outside
    )


@pytest.mark.parametrize(("low", "high"), [(0.003, 7), (1, 101), (1e-9, 1e9)])
def test_powers_of_ten_surround_the_values_and_are_few(low, high):
    ticks = powers(low, high)
    assert ticks[0] <= low < high <= ticks[-1]
    assert len(ticks) <= 7


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-3.0]])
def test_an_extent_is_never_empty(values):
    low, high = extent(values)
    assert low < high
    assert all(low <= value <= high for value in values)


@pytest.mark.parametrize("log", [False, True])
@given(st.floats(0, 10), st.floats(0, 10), st.floats(1, 1000), st.floats(1, 1000))
def test_right_is_more_and_up_is_more_and_nothing_leaves_the_frame(log, x1, x2, y1, y2):
    frame, place = axes((0, 10), ticks_within(0, 10), [1, 10, 100, 1000], log=log)
    first = place(x1, y1)
    second = place(x2, y2)
    assert (x1 <= x2) == (first[0] <= second[0]) or math.isclose(first[0], second[0])
    assert (y1 <= y2) == (first[1] >= second[1]) or math.isclose(first[1], second[1])
    for x, y in (first, second):
        assert frame.left - 1e-9 <= x <= WIDTH - RIGHT + 1e-9
        assert 0 <= y <= HEIGHT - BOTTOM + 1e-9
