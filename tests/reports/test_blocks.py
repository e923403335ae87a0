import re

import numpy as np
import pytest

from lslm_lightning.reports import (
    Code,
    Columns,
    Curves,
    Facts,
    Folded,
    Heading,
    Heatmap,
    Histogram,
    Interval,
    MarkedText,
    Measure,
    Missing,
    Report,
    Samples,
    ScoreTable,
    Section,
    Table,
    Text,
    render_html,
    render_markdown,
)
from lslm_lightning.reports.blocks import Settings
from lslm_lightning.reports.explorer import Explorer
from lslm_lightning.reports.intervals import Intervals
from lslm_lightning.reports.page import TEMPLATES
from lslm_lightning.reports.recordings import Aligned, Sound, Spectrogram
from lslm_lightning.reports.scatter import Scatter
from lslm_lightning.reports.shading import Shades

TEXTS = (Code, Facts, MarkedText, Settings, Shades, Table, Text)
GROUPS = (Columns, Explorer, Folded, Samples, ScoreTable)
FIGURES = (Aligned, Curves, Heatmap, Histogram, Intervals, Scatter, Sound, Spectrogram)


@pytest.mark.parametrize("template", ["blocks.html", "blocks.md"])
@pytest.mark.parametrize("kind", [*TEXTS, *GROUPS, *FIGURES], ids=lambda kind: kind.__name__)
def test_every_kind_of_block_has_a_macro(template: str, kind: type) -> None:
    macros = re.findall(r"{% macro (\w+)\(", (TEMPLATES / template).read_text("utf-8"))
    assert kind.__name__.lower() in macros


def test_a_marked_text_is_shown_with_its_marks() -> None:
    report = Report("t", [Section("s", [MarkedText("one two", (0, 3), (4, 7))])])
    assert '<mark class="wanted">' in render_html(report)
    assert "**[given: two]**" in render_markdown(report)


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
