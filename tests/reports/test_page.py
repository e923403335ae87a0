import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from markdown_it import MarkdownIt

from lslm_lightning.contracts import Score
from lslm_lightning.reports import (
    Code,
    Columns,
    Curves,
    Facts,
    Folded,
    Heading,
    Heatmap,
    Histogram,
    Measure,
    Missing,
    Report,
    Sample,
    Samples,
    ScoreTable,
    Section,
    Series,
    Table,
    Text,
    render_html,
    render_markdown,
    write_report,
)
from lslm_lightning.reports.page import MAX_BYTES, TEMPLATES
from lslm_lightning.safety.visible_text import visible

HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></title><script src=//evil.example/x.js></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<svg/onload=alert(1)>",
    "<!-- <![CDATA[ ]]>",
    "&lt;b&gt; &amp; &#60;",
    "{{ 7 * 7 }} {% raise %}",
    "javascript:alert(1)",
    "| a | b |",
    "`x` ``` <b>",
    "# heading",
    "[link](javascript:alert(1)) ![i](http://evil.example/p.png)",
    "\x1b[31mred\x1b[0m \x00 \x07 \x9b",
    "\u202egnp.exe\u202c \u2066x",
    "lone \ud800 surrogate",
]
VOID = {"meta", "link", "wbr"}


def report(text):
    """Return a report with every kind of block, and `text` wherever a text may be."""
    rows = [
        [text, Missing(text)],
        [Code(text, text), Measure(1.0, best=True)],
        [Heading(text, text), text],
    ]
    table = Table([Heading(text, text, True), text], rows, text, [text])
    score = Score(text, 1.0, text, True, text, 3, 0.5, 1.5)
    scores = [
        ScoreTable({text: [score]}, text),
        ScoreTable({text: [score], "other": [score]}, text),
    ]
    figures = [
        Curves([Series(text, [1, 2], [1.0, 2.0])], text, text, text),
        Histogram({text: [1, 2]}, text, text),
        Heatmap(np.eye(2), [text, text], [text, "long"], text, text, text, text, text),
    ]
    samples = Samples(
        [Sample(text, {text: text}, text, [text, text], {text: 1.0}, text, text)], text, text
    )
    blocks = [
        Text(text, text),
        Facts({text: text, "code": Code(text)}),
        Code(text, text),
        table,
        *scores,
        *figures,
        samples,
    ]
    return Report(
        text, [Section(text, [*blocks, Columns(blocks), Folded(text, blocks)])], text, text, text
    )


class Structure(HTMLParser):
    """Tags with the names of their attributes, the texts, and whether tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.words = []
        self.open = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags += [(tag, *sorted(name for name, _ in attributes))] if tag != "wbr" else []
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, *sorted(name for name, _ in attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_words_never_become_structure_in_html(text):
    harmless = Structure(render_html(report("xyzzy " * 3)))
    hostile = Structure(render_html(report(text)))
    assert hostile.tags == harmless.tags
    assert hostile.open == harmless.open == []
    assert not any(
        tag[0] in ("script", "img", "iframe") or any(name.startswith("on") for name in tag[1:])
        for tag in hostile.tags
    )
    assert visible(text) in hostile.words


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_words_never_become_structure_in_markdown(text):
    parser = MarkdownIt("commonmark").enable("table")

    def structure(page):
        tokens = [
            inner for token in parser.parse(page) for inner in (token, *(token.children or []))
        ]
        assert {token.content for token in tokens if token.type == "html_inline"} <= {"<br>"}
        assert all(token.content == "" or token.type != "html_block" for token in tokens)
        return [
            token.type
            for token in tokens
            if token.type not in ("text", "text_special", "html_inline")
        ]

    assert structure(render_markdown(report(text))) == structure(render_markdown(report("xyzzy")))


def test_nothing_invisible_or_reordering_is_written():
    for render in (render_html, render_markdown):
        page = render(report("".join(HOSTILE)))
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
        page.encode()


def test_the_policy_forbids_scripts_and_network_and_allows_this_style_only():
    page = render_html(report("x"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert " style=" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:,)", page)
    assert "url(" not in style
    assert "@import" not in style


def contrast(first, second):
    """Return the WCAG 2.2 contrast ratio of two #rrggbb colours."""

    def luminance(colour):
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_words_stand_out_from_paper_in_light_and_dark():
    style = (TEMPLATES / "style.css").read_text("utf-8")
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    ]
    assert len(palettes) == 2
    for palette in palettes:
        for ink in ("ink", "muted", "accent"):
            assert contrast(palette[ink], palette["paper"]) >= 4.5, (ink, palette)
        assert contrast(palette["ink"], palette["tint"]) >= 4.5
        assert contrast(palette["ink"], palette["wash"]) >= 4.5


def test_words_stand_out_from_every_shade_in_light_and_dark():
    style = (TEMPLATES / "style.css").read_text("utf-8").partition("@media print")[0]
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    ]
    rules = re.findall(r"^( *)\.(h\d) \{ background: color-mix\(.*? (\d+)%", style, re.MULTILINE)
    light = {name: int(share) for indent, name, share in rules if not indent}
    dark = light | {name: int(share) for indent, name, share in rules if indent}
    assert list(light) == [f"h{i}" for i in range(1, 6)]
    for palette, shares in zip(palettes, (light, dark), strict=True):
        assert sorted(shares.values()) == list(shares.values())
        for name, share in shares.items():
            accent, paper = (
                np.array([int(palette[key][i : i + 2], 16) for i in (1, 3, 5)])
                for key in ("accent", "paper")
            )
            mixed = np.rint((share * accent + (100 - share) * paper) / 100).astype(int)
            colour = "#" + "".join(f"{channel:02x}" for channel in mixed)
            assert contrast(palette["ink"], colour) >= 4.5, (name, palette)


def test_samples_carry_their_language():
    sample = Sample(
        "1",
        {"output": "他去过伦敦。"},
        "He has been to London.",
        ["他去过伦敦两次。"],
        language="zh",
        source_language="en",
    )
    page = render_html(Report("t", [Section("s", [Samples([sample])])]))
    assert page.count('class="text" lang="zh"') == 2
    assert page.count('class="text" lang="en"') == 1
    assert "<mark>两次</mark>" in page


def test_an_output_that_is_empty_or_missing_says_so():
    page = render_html(
        Report("t", [Section("s", [Samples([Sample("1", {"a": "", "b": None, "c": "ok"})])])])
    )
    assert "(empty)" in page
    assert re.search(r"b</h4>\s*<div[^>]*>\s*–", page)


def test_dashes_carry_their_reasons():
    table = Table(
        ["system", "bits/byte"],
        [["words", Missing("it has <unk>")], ["bytes", 2.5], ["none", None]],
    )
    made = Report("t", [Section("s", [table])])
    page = render_html(made)
    assert '<span class="dash">–</span><sup>1</sup>' in page
    assert "<sup>1</sup> it has &lt;unk&gt;" in page
    assert "| words | – (1) |" in render_markdown(made)
    assert "- (1) it has &lt;unk&gt;" in render_markdown(made)
    assert "| none | – |" in render_markdown(made)


@pytest.mark.slow
def test_a_thousand_examples_of_five_systems_stay_below_the_limit(tmp_path):
    text = "<&>'\"中" * 500
    samples = [
        Sample(str(i), dict.fromkeys("abcde", text), text, [text[::-1]] * 3) for i in range(1000)
    ]
    path = write_report(
        Report("t", [Section("s", [Samples(samples)])]), tmp_path / "made" / "report"
    )
    assert path == tmp_path / "made" / "report" / "index.html"
    assert path.stat().st_size < MAX_BYTES
    shown = re.search(r"(\d+) of 1,000 examples", path.read_text("utf-8"))
    assert int(shown[1]) >= 5
    assert shown[0] in (path.parent / "report.md").read_text("utf-8")


def test_a_page_that_cannot_be_made_small_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must stay below 5,000,000; give it fewer"):
        write_report(Report("t", [Section("s", [Text("x" * MAX_BYTES)])]), tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_the_same_report_gives_the_same_page():
    assert render_html(report("x")) == render_html(report("x"))
