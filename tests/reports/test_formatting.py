import math

import numpy as np
import pytest

from lslm_lightning.reports.formatting import decimals, duration, number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, "12,345"),
        (np.int64(12345), "12,345"),
        (12345.6, "12,346"),
        (37.2416, "37.24"),
        (37.4, "37.4"),
        (-0.51214, "−0.5121"),
        (0.00001234, "1.2 × 10⁻⁵"),
        (0.0, "0"),
        (100.0, "100"),
        (np.float32(0.5), "0.5"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_has_four_digits_and_groups(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize("value", [None, math.nan, np.float64("nan")])
def test_what_is_not_a_number_is_a_dash(value):
    assert number(value) == "–"
    assert number(value, 2) == "–"


def test_a_column_shares_decimals_unless_its_values_are_worlds_apart():
    assert decimals([37.2, 9.4, math.nan, None, 0.0]) == 2
    assert decimals([1500.0, 900.0]) == 0
    assert decimals([0.001, 9000.0]) is None
    assert decimals([math.nan]) is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5.04, "5.0 s"), (723, "12 min 3 s"), (7500, "2 h 5 min"), (None, "–"), (math.nan, "–")],
)
def test_durations_are_in_units_a_reader_counts_in(seconds, shown):
    assert duration(seconds) == shown
