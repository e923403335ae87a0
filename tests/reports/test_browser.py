"""Report page in a real browser."""

import math
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lslm_lightning.contracts import Score
from lslm_lightning.reports import (
    Code,
    Heatmap,
    Report,
    Sample,
    Samples,
    Section,
    Table,
    compose_report,
    details_section,
    learning_curves,
    length_section,
    write_report,
)
from lslm_lightning.reports.conclusion import NOTHING
from tests.reports.recorded import recorded

pytestmark = pytest.mark.browser

TEXTS = {
    "de": (
        "Two men stand before a white wall.",
        "Zwei Männer stehen vor einer Mauer.",
        "Zwei Männer stehen vor einer weißen Wand.",
    ),
    "zh": ("I'd like to stay one more night.", "我想再呆一晚。可能吗？", "我想再住一晚。可以吗？"),
}
HOSTILE = (
    "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'> \x1b[31m \u202e"
    + "unbroken" * 40
)


@pytest.fixture(scope="module", params=TEXTS)
def page(request, tmp_path_factory):
    language = request.param
    source, output, reference = TEXTS[language]
    signature = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.5.1"
    scores = [
        Score(name, 37.2, "%", True, signature, 1000, 36.1, 38.3)
        for name in ("BLEU", "chrF", "ROUGE-1", "ROUGE-2")
    ]
    systems = {
        "run": scores,
        "baseline " + "x" * 30: [Score("BLEU", math.nan, "%", True, signature, 1000)],
    }
    command = "lslm run " + "--option value " * 20
    facts = {"Digest of the data": Code("sha256:" + "0f" * 32)}
    rows = [
        {"step": s, "name": name, "value": 9.0 / s}
        for s in range(1, 900)
        for name in ("train/loss", "val/loss", "train/lr")
    ]
    samples = [
        Sample(f"test-{i}", {"output": output if i else HOSTILE}, source, [reference], {}, language)
        for i in range(20)
    ]
    samples.append(
        Sample(
            "long",
            {"output": output},
            source * 100,
            [reference, reference],
            {"output": 1.5},
            language,
        )
    )
    attention = Heatmap(
        np.random.default_rng(0).random((30, 40)),
        ["token"] * 30,
        ["source"] * 40,
        row_language=language,
    )
    extra = Section("Attention", [attention])
    report = compose_report(
        f"en-{language} {HOSTILE}",
        "translation",
        NOTHING,
        recorded(systems),
        details_section(facts, command, {}),
        lengths=length_section({"output": [3, 4, 9]}, [3, 5, 8]),
        training=[Section("Learning curves", learning_curves(rows))],
        of_task=[Section("Outputs", [Samples(samples)]), extra],
    )
    return write_report(report, tmp_path_factory.mktemp(language)).as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_opens_quietly_and_fits(browser, page, width, dark):
    browser.open(page, width, dark)
    noise = [
        event
        for event in browser.events
        if event[0] in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    ]
    assert noise == []
    asked = {
        parameters["request"]["url"]
        for method, parameters in browser.events
        if method == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {page}
    assert browser.evaluate("window.hit") is None
    assert browser.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    pixels = np.asarray(Image.open(BytesIO(browser.screenshot())).convert("L"), float)
    assert pixels.std() > 5
    assert (np.median(pixels) < 60) if dark else (np.median(pixels) > 200)


def test_the_page_works_with_the_keyboard(browser, page):
    browser.open(page)
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().top >= 0")
    browser.press("Enter")
    assert browser.evaluate("location.hash") == "#main"
    browser.evaluate("document.querySelector('details > summary').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('details').open")


def test_headings_do_not_skip_levels_and_every_link_has_its_target(browser, page):
    browser.open(page)
    levels = browser.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert max(b - a for a, b in pairwise(levels)) == 1
    assert browser.evaluate(
        "[...document.querySelectorAll('a')].every(a => document.querySelector(a.hash))"
    )


def test_the_page_prints_with_what_was_folded(browser, page):
    browser.open(page)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.evaluate(
        "[...document.querySelectorAll('details:not(.data) .sample')].every(s => "
        "s.checkVisibility())"
    )
    assert browser.pdf().startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="")


def test_the_first_column_stays_in_view_with_its_heading(browser, tmp_path):
    wide = Table(["system", *(f"measure-{i}" for i in range(12))], [["run", *range(12)]])
    report = Report("wide", [Section("Scores", [wide])])
    browser.open(write_report(report, tmp_path).as_uri(), 380)
    browser.evaluate("document.querySelector('.scroll').scrollLeft = 200")
    heading, cell, scrolled = browser.evaluate(
        "['thead th', 'tbody th', 'tbody td'].map("
        "(each) => document.querySelector(each).getBoundingClientRect().left)"
    )
    assert heading == cell
    assert scrolled < cell, "the table has scrolled below its first column"
