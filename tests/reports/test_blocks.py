import numpy as np

from lslm_lightning.reports import Heading, Interval, Measure, Missing, Table


def test_columns_of_numbers_share_their_decimals():
    table = Table(
        ["name", "x", "y", "text"],
        [["a", 1.5, np.int64(10), "u"], ["b", np.float64(100.25), None, "v"]],
    )
    assert table.numeric() == [False, True, True, False]
    assert table.column_places()[1] == 1
    assert Table(["x"], [[0.5], [100.0]], places=3).column_places() == [3]


def test_answers_of_yes_and_no_are_not_numbers():
    assert Table(["x"], [[True], [False]]).numeric() == [False]


def test_reasons_are_listed_once_in_order():
    rows = [["a", Missing("late"), Missing("lost")], ["b", Missing("late"), 1.0]]
    assert Table(["x", "y", "z"], rows).reasons() == ["late", "lost"]


def test_an_interval_has_the_decimals_of_its_score():
    assert str(Interval(2.0, 2.1, 3)) == "2.000 to 2.100"
    assert str(Measure(2.05, None, 3)) == "2.050"


def test_a_unit_is_not_said_twice():
    assert Heading("bits/byte", "bits/byte").shown_unit == ""
    assert Heading("TER", "%").shown_unit == "%"
