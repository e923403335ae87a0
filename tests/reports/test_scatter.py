"""Quality against cost: the Pareto front, and names that hide nothing."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.reports.blocks import Heading, Report, Section
from lslm_lightning.reports.page import render_html
from lslm_lightning.reports.scatter import Scatter, name_positions, overlaps

POINTS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1
)


@given(POINTS, st.booleans())
def test_the_front_is_what_no_other_beats(points, higher):
    scatter = Scatter(points, Heading("time"), Heading("bleu", "", higher))
    sign = 1 if higher else -1

    def beaten(name):
        cost, quality = points[name]
        return any(
            c <= cost and sign * q >= sign * quality and (c, q) != (cost, quality)
            for c, q in points.values()
        )

    front = scatter.front()
    assert sorted(front) == sorted(name for name in points if not beaten(name))
    assert [points[name][0] for name in front] == sorted(points[name][0] for name in front)


def test_points_that_are_not_finite_are_left_out():
    scatter = Scatter(
        {"a": (1.0, np.nan), "b": (2.0, 3.0)}, Heading("time"), Heading("bleu", "", True)
    )
    _, marks, path = scatter.drawing()
    assert [mark.name for mark in marks] == ["b"]
    assert not path
    assert len(scatter.table().rows) == 2


@pytest.mark.parametrize("n", [2, 4, 6])
def test_names_of_marks_that_lie_together_are_written_apart(n):
    marks = {f"system-{i}": (200.0 + i, 100.0 + 2 * i) for i in range(n)}
    found = name_positions(marks, 480.0)
    assert list(found) == list(marks)
    boxes = [(x - 50 * end, y - 6, x + 50 * (not end), y + 6) for (x, y), end in found.values()]
    assert not [pair for pair in combinations(boxes, 2) if overlaps(*pair)]


def test_names_are_text():
    scatter = Scatter(
        {"<b>bold": (1.0, 2.0), "other": (3.0, 4.0)},
        Heading("time", "s"),
        Heading("bleu", "", True),
    )
    page = render_html(Report("R", [Section("S", [scatter])]))
    assert "<b>" not in page
    assert "&lt;b&gt;bold" in page
