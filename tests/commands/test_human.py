"""`lslm human`: sheets from tested runs, a page that people fill in, and scores of what comes back,
which `lslm compare` shows.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lslm_lightning.human.key import read_key
from lslm_lightning.human.page import PAGE_WORDS, page_words
from lslm_lightning.human.sheets import read_sheets
from tests.commands.conftest import refused
from tests.commands.test_gate import answered, corpus, replaced, runs  # noqa: F401 (fixtures)
from tests.support.browser import Browser
from tests.support.waiting import wait_until

SIZES = ("--annotators", "anna,ben", "--items", 20, "--per-item", 2, "--checks", 0.1)


def fill(folder: Path, answer) -> None:
    """Fill the sheets with `answer(row)`, where the key says which row shows what."""
    key = read_key(folder)
    known = key.all_rows()
    for path in (folder / "sheets").glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
        for row in rows[1:]:
            row[-2] = answer(known[row[0]])
        (folder / "answers").mkdir(exist_ok=True)
        with (folder / "answers" / path.name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)


def prefers(name: str):
    """Return answers of people who find the outputs of a system good."""

    def answer(row) -> str:
        good = row.systems[0] == name and row.kind != "check"
        return str((90 if good else 30) + row.item % 7)

    return answer


@pytest.mark.slow
def test_ratings_come_back_as_scores_and_stand_beside_metrics(lslm, runs):  # noqa: F811
    made = lslm("human", "sheet", runs["base"], runs["worse"], "--output", "rating", *SIZES)
    assert made.status == 0, made
    folder = Path("rating")
    assert {path.name for path in (folder / "sheets").iterdir()} == {
        *("anna.csv", "anna.html", "ben.csv", "ben.html")
    }
    key = read_key(folder)
    assert all(len(rows) == 46 for rows in key.rows.values())
    refused(lslm("human", "sheet", runs["base"], "--output", "rating"), 1, "rating", "sheets")
    refused(lslm("human", "score", "rating", folder / "sheets"), 1, "anna.csv, line 2", "score")
    fill(folder, prefers("base"))
    scored = lslm("human", "score", "rating", folder / "answers")
    assert scored.status == 0, scored
    assert '"base" has the best human score' in scored.out
    assert (folder / "report/index.html").exists()
    ratings = folder / "ratings.json"
    found = lslm(
        "compare",
        runs["base"],
        runs["worse"],
        "--human",
        ratings,
        "--n-resample",
        200,
        "--csv",
        "t",
    )
    assert found.status == 0, found
    [base, worse] = csv.DictReader(io.StringIO(Path("t").read_text("utf-8-sig")))
    assert float(base["human"]) > float(worse["human"]) + 40
    # outputs that changed lose their ratings, those that stayed keep them
    changed = lslm("compare", runs["equal"], runs["base"], "--human", ratings, "--n-resample", 200)
    assert changed.status == 0, changed
    ratings.write_text("{}")
    broken = lslm("compare", runs["base"], runs["worse"], "--human", ratings)
    refused(broken, 1, "ratings.json", "lslm human score")


@pytest.mark.slow
def test_correlations_have_the_sign_of_agreement(lslm, runs):  # noqa: F811
    """People who rate by the number of right words agree with BLEU and, of errors, with TER."""
    names = [runs[name] for name in ("base", "equal", "worse")]
    assert lslm("human", "sheet", *names, "--output", "r", *SIZES).status == 0
    key = read_key(Path("r"))
    references = dict(enumerate(Path("sentences/test.de").read_text("utf-8").splitlines()))

    def answer(row) -> str:
        right = set(references[row.item].split()) & set(row.texts[0].split())
        return str(min(100, 8 * len(right)))

    assert len(key.systems) == 3
    fill(Path("r"), answer)
    assert lslm("human", "score", "r", "r/answers").status == 0
    text = Path("r/report/report.md").read_text("utf-8")
    section = text.partition("Automatic metrics")[2]
    values = [line.split("|") for line in section.splitlines() if line.startswith("|")][2:]
    assert len(values) == 3
    for _, name, tau, _, r, *_ in values:
        assert float(tau) > 0.2, name
        assert float(r) > 0.5, name


@pytest.mark.slow
def test_wrong_requests_are_refused(lslm, runs):  # noqa: F811
    refused(lslm("human", "sheet", "--output", "x"), 2, "--evaluation")
    few = ("human", "sheet", runs["base"], "--output", "x")
    refused(lslm(*few, "--method", "pairwise"), 1, "pairwise", "two systems")
    refused(lslm(*few, "--per-item", 9), 2, "per_item=9")
    refused(lslm(*few, "--annotators", "a/b"), 1, "a/b")
    refused(lslm("human", "score", "nowhere", "x.csv"), 1, "key.json")
    assert not Path("x").exists()
    assert lslm(*few, *SIZES).status == 0
    refused(lslm("human", "score", "x", "y.csv"), 1, "y.csv")
    refused(lslm("human", "score", "x", "x/sheets", "--leave-out", "zoe"), 1, "'zoe'", "anna")


def test_the_page_has_all_its_words_in_chinese():
    words = page_words("zh")
    same = [text for text in PAGE_WORDS if words[text] == text and text != "中文"]
    assert same == []
    script = (Path(__file__).parents[2] / "lslm_lightning/human/templates/sheet.js").read_text()
    page = script + script.replace('"', "'")
    for text in PAGE_WORDS:
        html = (Path(__file__).parents[2] / "lslm_lightning/human/templates/sheet.html").read_text()
        assert f'"{text}"' in page + html or text in ("中文", *words_of_data()), text


def words_of_data() -> tuple[str, ...]:
    """Return the words that the data of a page name: severities and categories."""
    from lslm_lightning.human.sheets import CATEGORIES, SEVERITIES

    return (*CATEGORIES, *SEVERITIES)


@pytest.fixture
def browser(browser: Browser) -> Iterator[Browser]:
    """Chromium, which forgets the answers of a test."""
    session = browser.session
    yield browser
    browser.session = session
    browser.evaluate("localStorage.clear()")


def downloaded(browser: Browser, folder: Path, pattern: str) -> Path:
    """Download the answers of the page; return the file."""
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.evaluate("document.getElementById('download').click()")
    wait_until(lambda: [p for p in folder.glob(pattern) if p.suffix == ".csv"], pattern)
    [path] = folder.glob(pattern)
    return path


FILL = {  # a script that answers the row that is shown
    "direct": (
        "n = document.getElementById('number'); n.value = '37';n.dispatchEvent(new Event('input'))"
    ),
    "pairwise": "document.querySelector('[data-side=B]').click()",
    "mqm": (
        "s = getSelection(); s.removeAllRanges(); r = document.createRange();"
        "r.selectNodeContents(document.querySelector('.output p')); s.addRange(r)"
    ),
}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("method", FILL)
def test_a_page_gives_its_answers_back(lslm, runs, tmp_path, browser, method):  # noqa: F811
    """Answers outlive the page, and no error or request occurs."""
    sizes = ("--annotators", "anna", "--items", 3, "--method", method, "--repeats", 0.2)
    names = [runs["base"], runs["worse"]]
    assert lslm("human", "sheet", *names, "--output", "rating", *sizes).status == 0
    page = Path("rating/sheets/anna.html").absolute()
    browser.open(page.as_uri())
    n_row = browser.evaluate("data.rows.length")
    assert n_row == len(read_key(Path("rating")).rows["anna"])
    for i in range(n_row):
        browser.evaluate(FILL[method])
        if method == "mqm":
            browser.wait_for("selected.length > 3")
            browser.evaluate("document.querySelector('[data-severity=major]').click()")
        assert browser.evaluate(
            f"document.getElementById('count').textContent.startsWith('{i + 1} /')"
        )
        browser.evaluate("document.getElementById('next').click()")
        if i == 1:
            browser.open(page.as_uri())  # again: nothing is lost
            browser.wait_for("current === 2")
    assert browser.evaluate("document.getElementById('done').hidden") is False
    path = downloaded(browser, tmp_path, "anna-answers*")
    ratings = read_sheets([path], read_key(Path("rating")))
    assert {rating.value for rating in ratings} == {{"direct": 37, "pairwise": 0, "mqm": 5}[method]}
    if method == "mqm":
        for rating in ratings:
            [(severity, category, span)] = rating.errors
            assert (severity, category) == ("major", "accuracy")
            assert span == " ".join(rating.row.texts[0].split())
    problems = [e for m, e in browser.events if m in ("Log.entryAdded", "Runtime.exceptionThrown")]
    assert not problems
    requests = [e["request"]["url"] for m, e in browser.events if m == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "blob:")) for url in requests)
    browser.evaluate("document.getElementById('language').click()")
    assert browser.evaluate("document.documentElement.lang") == "zh-CN"
    assert browser.evaluate("document.getElementById('next').textContent") == "下一条"


@pytest.mark.slow
@pytest.mark.browser
def test_two_windows_of_one_sheet_keep_all_answers(lslm, runs, browser):  # noqa: F811
    sizes = ("--annotators", "anna", "--items", 3, "--method", "pairwise")
    assert (
        lslm("human", "sheet", runs["base"], runs["worse"], "--output", "two", *sizes).status == 0
    )
    page = Path("two/sheets/anna.html").absolute().as_uri()
    browser.open(page)
    first = browser.session
    browser.session = None
    target = browser.call("Target.createTarget", url=page)["targetId"]
    second = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.session = second  # empty at first
    browser.wait_for("typeof choose === 'function' && document.readyState === 'complete'")
    browser.evaluate("choose('A')")
    browser.session = first
    browser.wait_for("answers[data.rows[0].id]?.value === 'A'")
    browser.evaluate("go(1); choose('B')")
    browser.session = second
    browser.wait_for("data.rows.map((row) => answers[row.id]?.value).join() === 'A,B,'")
    browser.session = None
    browser.call("Target.closeTarget", targetId=target)


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_needs_no_mouse_and_runs_no_text(lslm, corpus, browser):  # noqa: F811
    """Hostile outputs are text; keys choose and go on; a phone scrolls in one direction alone."""
    hostile = "</script><script>hacked=1</script><img src=x onerror=hacked=1>"
    first = answered("first", corpus, lambda i, text: hostile + text)
    second = answered("second", corpus, replaced(0.3, 1))
    sizes = ("--annotators", "anna", "--items", 3, "--method", "pairwise")
    assert lslm("human", "sheet", first, second, "--output", "rating", *sizes).status == 0
    page = Path("rating/sheets/anna.html").absolute()
    browser.open(page.as_uri(), width=360, dark=True)
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert hostile in browser.evaluate("document.querySelector('.texts').textContent")
    for key in ("a", "Enter", "s", "Enter", "ArrowRight"):
        event = f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}})"
        browser.evaluate(f"document.body.dispatchEvent({event})")
    values = browser.evaluate("data.rows.map((row) => answers[row.id]?.value).join()")
    assert values == "A,same,B"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    record = json.loads(Path("rating/key.json").read_text())
    assert record["systems"] == ["first", "second"]
    shutil.rmtree("rating")
