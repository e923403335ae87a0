import math
import re

import numpy as np
import pytest

from lslm_lightning.reports import Curves, Heatmap, Histogram, Report, Section, Series, render_html
from lslm_lightning.reports.figures import MAX_MARKED, MAX_POINTS

NAN = math.nan


def drawn(figure):
    """Return the SVG of a figure on a page."""
    page = render_html(Report("t", [Section("s", [figure])]))
    return re.search(r'<svg class="(?:plot|heat)".*?</svg>', page, re.DOTALL)[0]


def test_a_curve_rises_where_its_values_rise():
    x = np.arange(50)
    y = np.cumsum(np.random.default_rng(0).uniform(0, 1, 50))
    frame, [line] = Curves([Series("a", x, y)]).drawing()
    points = np.array(line.points)
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) < 0).all()
    assert points.min() >= 0
    assert (points <= [frame.width, frame.height]).all()


def test_two_curves_share_their_axes():
    _, [first, second] = Curves(
        [Series("a", [0, 1], [1.0, 2.0]), Series("b", [1, 0], [2.0, 1.0])]
    ).drawing()
    assert first.points == second.points


@pytest.mark.parametrize(
    ("y", "n_run"),
    [
        ([1, 2, 3], 1),
        ([1, NAN, 3], 2),
        ([NAN, 1, math.inf, 2, 3, NAN, 4], 3),
        ([NAN, NAN, 5, NAN], 1),
        ([NAN], 0),
        ([], 0),
    ],
)
def test_points_that_are_not_finite_are_gaps(y, n_run):
    figure = Curves([Series("a", range(len(y)), y)])
    _, [line] = figure.drawing()
    assert line.path.count("M") == n_run
    assert len(line.points) == sum(map(math.isfinite, y))
    assert "nan" not in drawn(figure)
    n_gap = len(y) - len(line.points)
    assert figure.note == (f"Values that are not finite leave gaps: {n_gap}." if n_gap else "")


@pytest.mark.parametrize("n", [1, 3, MAX_MARKED, MAX_MARKED + 1, 500])
def test_points_are_marked_where_there_are_few(n):
    figure = Curves([Series("a", range(n), range(n)), Series("b", range(2), range(2))])
    _, [line, two] = figure.drawing()
    assert list(line.dots) == (line.points if n <= MAX_MARKED else [])
    assert list(two.dots) == two.points
    assert drawn(figure).count("<circle") == len(line.dots) + 2


def test_a_histogram_has_points_nowhere_and_says_of_how_many_texts_it_is():
    figure = Histogram({"a": [1, 2, 3], "reference": [1]}, "tokens")
    assert "<circle" not in drawn(figure)
    assert [heading.unit for heading in figure.table().columns[1:]] == [
        "% of 3 texts",
        "% of 1 text",
    ]


def test_a_point_between_gaps_is_a_dot():
    _, [line] = Curves([Series("a", [0, 1, 2], [NAN, 1.0, NAN])]).drawing()
    assert line.path.endswith("h0")


def test_many_points_are_averaged_and_the_figure_says_so():
    x = np.arange(10_000)
    figure = Curves([Series("a", x, x * 2.0)])
    thin, k = figure.series[0].thinned()
    assert len(thin.x) <= MAX_POINTS
    np.testing.assert_allclose(thin.y, 2 * thin.x)
    assert f"mean of up to {k} logged" in figure.note
    broken = x * 2.0
    broken[5000] = NAN
    assert np.isnan(Series("a", x, broken).thinned()[0].y).sum() == 1


def test_values_over_many_powers_of_ten_get_a_log_axis_that_says_so():
    frame, _ = Curves(
        [Series("a", [1, 2, 3], [8000.0, 300.0, 20.0])], y_label="perplexity"
    ).drawing()
    assert frame.y_label == "perplexity (log scale)"
    frame, _ = Curves([Series("a", [1, 2, 3], [0.0, 300.0, 8000.0])]).drawing()
    assert frame.y_label == ""


def test_the_table_of_curves_names_first_last_lowest_and_highest():
    [row] = Curves([Series("a", [30, 10, 20, 40], [5.0, 9.0, 1.5, NAN])]).table().rows
    assert row == ["a", 4, 9, 5, 1.5, 20, 9, 10]


@pytest.mark.parametrize("values", [[1, 2, 2, 3, 40], [0.1, 0.25, 7.5], [5], [0, 0], [3, NAN, 4]])
def test_a_histogram_counts_every_value_once(values):
    figure = Histogram({"output": values, "reference": [1, 2]}, "words")
    finite = [value for value in values if math.isfinite(value)]
    assert figure.edges[0] <= min(finite)
    assert figure.edges[-1] > max(finite)
    np.testing.assert_allclose(np.diff(figure.edges), np.diff(figure.edges)[0])
    for share in figure.shares().values():
        assert share.sum() == pytest.approx(100)
    assert len(figure.table().rows) == len(figure.edges) - 1
    assert "nan" not in drawn(figure)


def test_bins_of_whole_numbers_are_named_by_them():
    rows = Histogram({"output": [1, 2, 4]}, "words").table().rows
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[1] for row in rows] == pytest.approx([100 / 3, 100 / 3, 0, 100 / 3])
    assert Histogram({"output": [0, 100]}, "words").table().rows[0][0] == "0 to 4"


def test_an_empty_histogram_draws():
    assert "<svg" in drawn(Histogram({"output": []}, "words"))


def test_a_heatmap_has_a_cell_a_pair_and_shades_in_order():
    values = np.random.default_rng(0).random((3, 5))
    figure = Heatmap(values, list("abc"), ["Sie", "gehen", "nach", "Haus", "."])
    cells = re.findall(
        r'<rect x="(\d+)" y="(\d+)" width="1" height="1" fill-opacity="([\d.]+)"/>', drawn(figure)
    )
    assert [(int(y), int(x)) for x, y, _ in cells] == [(i, j) for i in range(3) for j in range(5)]
    shades = np.array([float(shade) for *_, shade in cells]).reshape(3, 5)
    np.testing.assert_allclose(shades, values / values.max(), atol=0.005)


def test_cells_that_are_not_finite_are_empty_and_zeros_draw():
    assert drawn(Heatmap([[NAN, 1.0], [math.inf, 0.5]], "ab", "cd")).count('class="none"') == 2
    assert drawn(Heatmap(np.zeros((2, 2)), "ab", "cd")).count('fill-opacity="0"') == 4


def test_a_heatmap_without_a_label_for_each_row_and_column_is_refused():
    with pytest.raises(
        ValueError, match=r"\(2, 2\) must have one label for each row and column.*\(2, 1\)"
    ):
        Heatmap([[1.0, 2.0], [3.0, 4.0]], ["a", "b"], ["c"])


def test_chinese_tokens_stand_upright_in_their_language():
    svg = drawn(Heatmap(np.eye(2), ["the", "sea"], ["大", "海"], column_language="zh"))
    assert '<g class="labels" lang="zh">' in svg
    assert "rotate" not in svg
    assert "rotate" in drawn(Heatmap(np.eye(2), ["大", "海"], ["the", "sea"], row_language="zh"))
