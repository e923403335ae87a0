"""Texts shaded token by token."""

from lslm_lightning.reports.blocks import Report, Section
from lslm_lightning.reports.page import render_html, render_markdown
from lslm_lightning.reports.shading import Shades

PIECES = [("今天", 0.5), ("<b>", 3.0), (" ", None), ("sky", 40.0)]


def test_the_text_is_whole_and_each_piece_has_its_shade():
    block = Shades(PIECES, "A passage", "bits", "zh")
    assert block.text == "今天<b> sky"
    assert [shade for _, shade, _ in block.shaded()] == [0, 2, None, 5]
    page = render_html(Report("R", [Section("S", [block])]))
    for words in (
        '<span class="h0" title="0.5 bits">今天</span>',
        '<span class="h2" title="3 bits">&lt;b&gt;</span> <span',
        "16 bits or more",
    ):
        assert words in page, words
    assert "<b>" not in page
    assert "今天" in render_markdown(Report("R", [Section("S", [block])]))


def test_shades_rise_with_the_value():
    values = [0, 0.99, 1, 2, 3.9, 4, 8, 15.9, 16, 1000]
    shades = [shade for _, shade, _ in Shades([("x", v) for v in values]).shaded()]
    assert shades == sorted(shades)
    assert set(shades) == set(range(6))
    assert len(Shades([]).legend) == 6
