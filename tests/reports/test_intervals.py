"""Figure of scores with intervals: geometry, order, and scores left out."""

import math

import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.reports import Report, Section, render_html, render_markdown
from lslm_lightning.reports.axes import WIDTH, text_width
from lslm_lightning.reports.evaluation import scores_section
from lslm_lightning.reports.intervals import Intervals
from tests.reports.recorded import recorded


def score(value, low=None, high=None, metric="bleu", higher=True):
    return Score(metric, value, "", higher, "", 100, low, high)


SCORES = {
    "mine": score(20.0, 18.0, 22.0),
    "copy": score(12.0, 10.0, 14.0),
    "best": score(30.0, 29.0, 31.0),
}


@pytest.mark.parametrize(
    ("higher", "order"), [(True, ["best", "mine", "copy"]), (False, ["copy", "mine", "best"])]
)
def test_the_best_comes_first(higher, order):
    scores = {name: score(s.value, s.low, s.high, "wer", higher) for name, s in SCORES.items()}
    assert [bar.name for bar in Intervals(scores, "mine").drawing().bars] == order


def test_marks_stand_in_proportion_between_their_bounds():
    drawing = Intervals(SCORES, "mine").drawing()
    best, mine, copy = drawing.bars
    assert (best.x - mine.x) / (mine.x - copy.x) == pytest.approx(10 / 8)
    for bar in drawing.bars:
        assert 0 <= bar.low < bar.x < bar.high <= WIDTH
        assert bar.x - bar.low == pytest.approx(bar.high - bar.x)
    assert [bar.is_own for bar in drawing.bars] == [False, True, False]
    assert drawing.ticks[0].at <= min(bar.low for bar in drawing.bars)
    assert drawing.ticks[-1].at >= max(bar.high for bar in drawing.bars)


def test_scores_without_interval_or_number_spoil_nothing():
    scores = SCORES | {
        "none": score(math.nan),
        "inf": score(math.inf),
        "bare": score(25.0),
        "odd": score(5.0, math.nan, 6.0),
    }
    figure = Intervals(scores, "mine")
    bars = {bar.name: bar for bar in figure.drawing().bars}
    assert bars.keys() == {"mine", "copy", "best", "bare", "odd"}
    assert bars["bare"].low == bars["bare"].x == bars["bare"].high
    assert [row[0] for row in figure.table().rows] == list(bars)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e9, -3.0])
def test_equal_scores_and_odd_sizes_are_drawn(value):
    drawing = Intervals({"a": score(value), "b": score(value)}).drawing()
    assert all(math.isfinite(bar.x) and 0 <= bar.x <= WIDTH for bar in drawing.bars)


def test_long_names_do_not_reach_the_value():
    for name in ("run-" * 60, "诗" * 80):
        drawn = Intervals({name: score(12.5), "b": score(2.0)}).drawing().bars[0]
        assert drawn.name.endswith("…")
        assert text_width(drawn.name) + text_width(drawn.value) < WIDTH


def test_text_of_others_is_text():
    figure = Intervals({"<b>bold": score(1.0, 0.5, 1.5), "other": score(2.0)}, "other")
    report = Report("t", [Section("s", [figure])])
    page = render_html(report)
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert "| <b>" not in render_markdown(report)


def test_systems_of_one_test_set_have_the_figure_and_one_alone_has_none():
    def figures(systems, apart=()):
        both = {name: [score(1.0, metric="other"), own] for name, own in systems.items()}
        blocks = scores_section(recorded(both, "bleu"), [], apart).blocks
        return [block for block in blocks if isinstance(block, Intervals)]

    systems = {"copy": score(8.0), "best": score(10.0), THIS: score(9.0)}
    [figure] = figures(systems)
    assert figure.own == THIS
    assert figure.caption == "BLEU (higher is better)"
    [others] = figures({name: systems[name] for name in ("copy", "best")})
    assert others.own == "best"
    assert figures({THIS: score(9.0)}) == figures(systems, apart=["copy", "best"]) == []
