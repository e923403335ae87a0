"""All outputs of all systems in a real browser: search, order, differences, pages, hostile
texts.
"""

import json

import pytest

from lslm_lightning.reports.blocks import Report, Section
from lslm_lightning.reports.explorer import Explorer
from lslm_lightning.reports.page import render_markdown, write_report
from lslm_lightning.reports.samples import Sample

pytestmark = pytest.mark.browser

HOSTILE = (
    "</script><script>window.hit = 1</script><!--<img src=x onerror='window.hit = 1'> "
    "\u2028 \x1b[31m"
)
N = 45


def sample(i: int) -> Sample:
    """Return example i: every third is Chinese, and the first system is better on the first
    half.
    """
    reference = f"我想再住{i}晚。可以吗？" if i % 3 == 0 else f"Two men stand before wall {i}."
    wrong = reference.replace("住", "呆").replace("men", "dogs")
    outputs = {"one": reference if i < 30 else wrong, "two": wrong if i != 7 else HOSTILE}
    scores = {"one": 100.0 - i, "two": 50.0}
    return Sample(
        f"test:{i}",
        outputs,
        f"Source number {i}",
        [reference],
        scores,
        "zh" if i % 3 == 0 else "en",
    )


@pytest.fixture(scope="module")
def report():
    return Report(
        "Outputs",
        [Section("Outputs side by side", [Explorer([sample(i) for i in range(N)], "bleu")])],
    )


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    return write_report(report, tmp_path_factory.mktemp("explorer")).as_uri()


def ids(browser):
    return browser.evaluate(
        "[...document.querySelectorAll('[data-list] .sample h3')].map(e => e.textContent.trim())"
    )


def put(browser, name, value):
    code = f"const e = document.querySelector('[data-controls]').elements[{json.dumps(name)}]; "
    code += (
        f"e.type === 'checkbox' ? e.checked = {json.dumps(value)} : e.value = {json.dumps(value)}; "
    )
    browser.evaluate(
        f"(() => {{ {code} e.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
    )


def test_everything_can_be_reached_page_by_page(browser, page):
    browser.open(page)
    found = ids(browser)
    assert len(found) == 20
    for _ in range(2):
        browser.evaluate("document.querySelector('[data-next]').click()")
        found += ids(browser)
    assert found == [f"test:{i}" for i in range(N)]
    assert browser.evaluate("document.querySelector('[data-next]').disabled")
    assert "41 to 45 of 45" in browser.evaluate(
        "document.querySelector('[data-count]').textContent"
    )


def test_search_reads_sources_outputs_and_references_in_any_width_and_case(browser, page):
    browser.open(page)
    put(browser, "query", "NUMBER 4")
    assert ids(browser) == [f"test:{i}" for i in range(N) if "4" in f"{i}"]
    put(browser, "query", "再呆４２晚")
    assert ids(browser) == ["test:42"]
    put(browser, "query", "no such words")
    assert ids(browser) == []
    assert "Nothing found" in browser.evaluate("document.querySelector('[data-count]').textContent")


def test_the_order_follows_scores(browser, page):
    browser.open(page)
    put(browser, "order", "worst 0")
    assert ids(browser)[0] == "test:44"
    put(browser, "order", "gain 0 1")
    assert ids(browser)[:2] == ["test:0", "test:1"]
    put(browser, "order", "gain 1 0")
    assert ids(browser)[0] == "test:44"


def test_only_differences(browser, page):
    browser.open(page)
    put(browser, "differing", True)
    assert "of 30 found" in browser.evaluate("document.querySelector('[data-count]').textContent")


def test_differences_are_marked_word_by_word_and_character_by_character(browser, page):
    browser.open(page)
    marks = browser.evaluate(
        "[...document.querySelectorAll('[data-list] .sample')].map(s => "
        "[...s.querySelectorAll('mark')].map(m => m.textContent))"
    )
    assert marks[0] == ["呆"]
    assert marks[1] == ["dogs"]


def test_hostile_outputs_are_text(browser, page):
    browser.open(page)
    put(browser, "query", "window.hit")
    assert ids(browser) == ["test:7"]
    assert browser.evaluate("window.hit") is None
    assert "</script><script>" in browser.evaluate(
        "document.querySelector('[data-list]').textContent"
    )
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    noise = [
        event
        for event in browser.events
        if event[0] in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]
    assert noise == []


def test_it_works_with_the_keyboard(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('[data-next]').focus()")
    browser.press("Enter")
    assert ids(browser)[0] == "test:20"


def test_of_one_system_references_are_marked_and_wrong_outputs_are_found(browser, tmp_path):
    """A long source is folded."""
    samples = [
        Sample("right", {"one": "a dog"}, "words " * 100, ["a dog"]),
        Sample("wrong", {"one": "a cat"}, "source", ["a dog runs", "the dog"]),
    ]
    page = write_report(Report("n", [Section("Outputs", [Explorer(samples, "bleu")])]), tmp_path)
    browser.open(page.as_uri())
    assert browser.evaluate("document.querySelectorAll('[data-list] details').length") == 1
    assert browser.evaluate(
        "[...document.querySelectorAll('[data-list] mark')].map(m => m.textContent)"
    ) == ["cat", "dog runs", "the dog"]
    put(browser, "differing", True)
    assert ids(browser) == ["wrong"]


def test_paper_and_markdown_show_the_first_ones(browser, page, report):
    browser.open(page)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('[data-controls]')).display")
        == "none"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert "test:0" in render_markdown(report)
