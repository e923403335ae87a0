"""Laws of the documentation site: both languages agree, links lead somewhere, nothing is loaded
from elsewhere, error messages are real, and search finds Chinese words.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

from docs.gallery.making import MADE, PAGE, commands_of
from docs.generate import MARKER, metrics, text_of
from docs.generate.markdown import plain, table
from lslm_lightning.__main__ import COMMANDS, main
from tests.benchmarks.record import RESULTS
from tests.support.browser import Browser
from tests.support.documents import MISTAKE, MISTAKES, PAGES, ROOT, SITE, commands_in, shape
from tests.support.documents import text_of as source_of

LANGUAGES = ("en", "zh")
GALLERY = commands_of(source_of(PAGE))
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


# Pages


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_structure(page: str) -> None:
    assert shape(f"docs/en/{page}") == shape(f"docs/zh/{page}")


def test_both_languages_have_the_same_pages() -> None:
    chinese = {str(path.relative_to(SITE / "zh")) for path in (SITE / "zh").rglob("*.md")}
    assert set(PAGES) == chinese


def test_no_page_is_a_stub() -> None:
    for page in PAGES:
        for language in LANGUAGES:
            assert len(source_of(f"docs/{language}/{page}")) > 60, page


def markers() -> list[str]:
    """The markers of all English pages."""
    return [marker for page in PAGES for marker in MARKER.findall(source_of(f"docs/en/{page}"))]


def test_every_command_is_described() -> None:
    described = {marker.split()[1] for marker in markers() if marker.startswith("command ")}
    assert described == COMMANDS.keys()


def test_every_measurement_is_shown_once() -> None:
    shown = [
        name
        for marker in markers()
        if marker.startswith("benchmarks")
        for name in marker.split()[1:]
        if not marker.startswith("benchmarks-to-come") or (RESULTS / f"{name}.json").exists()
    ]
    assert sorted(shown) == sorted(path.stem for path in RESULTS.glob("*.json"))


# Generated texts


def test_text_for_markdown_keeps_code_and_escapes_the_rest() -> None:
    assert plain("a `b_c*` d_e <f>") == r"a `b_c*` d\_e \<f\>"
    assert table(("a", "b"), [("`x | y`", "2")], numbers=1).splitlines()[1:] == [
        "| :--- | ---: |",
        r"| `x \| y` | 2 |",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "marker", ["nothing", "command none", "settings NoClass", "benchmarks none", "python no.module"]
)
def test_a_marker_that_names_nothing_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match=marker.split()[-1].partition(".")[0]):
        text_of(marker)


@pytest.mark.slow
def test_settings_have_type_default_and_meaning() -> None:
    rows = text_of("settings Backbone").splitlines()
    [row] = [row for row in rows if row.startswith("| `n_kv_head`")]
    assert "`int \\| None`" in row
    assert "### Transformer" in rows
    assert "### Backbone" not in rows


def test_options_have_defaults() -> None:
    text = text_of("command compare")
    assert re.search(r"\| `--n-resample N` \| `10000` \| ", text)


@pytest.mark.slow
def test_every_key_of_a_signature_is_explained() -> None:
    assert metrics.occurring().keys() <= metrics.KEYS.keys()


# Error messages


def mistakes(language: str) -> list:
    """Shell blocks of the page on error messages, and the message that follows each; the Chinese
    page has the English message first.
    """
    found = MISTAKE.findall(source_of(MISTAKES.replace("/en/", f"/{language}/")))
    return [
        pytest.param(language, script, message, id=f"{script.splitlines()[-1]} {language}")
        for script, message in (
            (script, text if language == "en" else text.splitlines()[-1]) for script, text in found
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("language", "script", "message"), [*mistakes("en"), *mistakes("zh")])
def test_messages_are_those_that_the_commands_print(
    language: str,
    script: str,
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("LSLM_LANG", language)
    (project / "configs").symlink_to(ROOT / "configs")
    *preparation, _ = script.splitlines()
    subprocess.run(["bash", "-ec", "\n".join(preparation)], check=True)
    [words] = commands_in(script)
    assert main(words) != 0
    out, err = capfd.readouterr()
    printed = " ".join((out + err).replace(str(project), "/home/me/work").split())
    assert " ".join(message.split()) in printed


def texts_of_source() -> str:
    """All texts in the source, with a mark in place of values that are filled in."""
    found = []
    for file in (ROOT / "lslm_lightning").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else "…" for part in parts]
            found.append("".join(map(str, texts)))
    return "\n".join(found)


@pytest.mark.slow
def test_other_messages_are_in_the_source() -> None:
    source = texts_of_source()
    shown = re.findall(r"^```text\n(?:lslm: )?(.*?)\n```", source_of(MISTAKES), re.M | re.S)
    others = [message for message in shown if "…" in message]
    assert len(others) > 4
    for message in others:
        for part in message.split("…"):
            assert part.strip(" :;") in source, message


# Output of Python

PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("concepts/")])
def test_python_of_concepts_prints_what_is_shown(page: str, capsys: pytest.CaptureFixture) -> None:
    names: dict[str, object] = {}
    with torch_printing():
        for code, shown in PYTHON.findall(source_of(f"docs/en/{page}")):
            exec(code, names)
            assert capsys.readouterr().out == shown, code


@contextmanager
def torch_printing() -> Iterator[None]:
    """Restore PyTorch's options of printing, which examples set."""
    import torch

    try:
        yield
    finally:
        torch.set_printoptions(profile="default")


# The built site


@pytest.fixture(scope="session")
def built_site(shared: Path) -> Path:
    """The site, built once for all workers; its warnings are errors."""
    folder = shared / "site"
    with FileLock(shared / "site.lock"):
        if not (folder / "index.html").exists():
            shutil.rmtree(folder, ignore_errors=True)
            built = subprocess.run(
                [sys.executable, "-m", "docs", "--old-gallery", str(folder)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Links(HTMLParser):
    """Anchors, links and loaded files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := found.get(name))}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        elif found.get(LOADS.get(tag, "")):
            self.loaded.append(found[LOADS[tag]] or "")


@pytest.fixture(scope="session")
def pages(built_site: Path) -> dict[Path, Links]:
    found = {}
    for path in built_site.rglob("*.html"):
        links = Links()
        links.feed(path.read_text("utf-8"))
        found[path.resolve()] = links
    return found


@pytest.mark.slow
def test_all_pages_are_built_in_both_languages(built_site: Path, pages: dict[Path, Links]) -> None:
    for language in LANGUAGES:
        for page in PAGES:
            assert (built_site / language / page).with_suffix(".html").resolve() in pages


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(pages: dict[Path, Links]) -> None:
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"https?://[\w.-]+(/|$)", link):
                continue
            if link.startswith("gallery/") and not MADE.is_dir():
                continue  # reports that `make docs` makes
            target, _, anchor = link.partition("#")
            to = (path.parent / unquote(target)).resolve() if target else path
            if to not in pages or unquote(anchor) not in pages[to].anchors:
                wrong.append(f"{path.name}: {link}")
    assert not wrong, "\n".join(wrong)


def outside(built_site: Path, pages: dict[Path, Links]) -> Iterator[str]:
    """Whatever a page loads that is not a file of the site."""
    for path, page in pages.items():
        for link in page.loaded:
            if link.startswith("data:"):
                continue
            file = (path.parent / unquote(link.partition("?")[0].partition("#")[0])).resolve()
            if re.match(r"\w+:|//", link) or not file.exists():
                yield f"{path.relative_to(built_site)} {link}"
    for style in built_site.rglob("*.css"):
        for link in re.findall(r"url\(['\"]?([^)'\"]+)|@import\s+(\S+)", style.read_text("utf-8")):
            if not re.match(r"data:|#", "".join(link)):
                yield f"{style.name} {link}"


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(built_site: Path, pages: dict[Path, Links]) -> None:
    assert not list(outside(built_site.resolve(), pages))


@pytest.fixture(scope="session")
def reports(built_site: Path) -> list[Path]:
    """Reports of the gallery, in both languages."""
    if not MADE.is_dir():
        pytest.skip("needs the reports of the gallery, which make docs makes")
    return [
        built_site / f"{language}/gallery/{name}.html" for language in LANGUAGES for name in GALLERY
    ]


@pytest.mark.slow
def test_reports_of_the_gallery_are_small(reports: list[Path]) -> None:
    for path in reports:
        assert 10_000 < path.stat().st_size < 1_000_000, path


@pytest.mark.slow
def test_pages_lead_to_each_other_in_the_other_language(
    built_site: Path, pages: dict[Path, Links]
) -> None:
    page = pages[(built_site / "zh/reference/tasks.html").resolve()]
    assert "../../en/reference/tasks.html" in page.links


# In a browser


RESULTS_SHOWN = "[...document.querySelectorAll('#search-results li a')].map(a => a.textContent)"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("language", "query", "title"),
    [
        ("zh", "置信区间", "术语表"),
        ("zh", "评测集", "术语表"),
        ("zh", "检查点", "故障排查"),
        ("zh", "ROUGE 显著性检验", "指标"),
        ("en", "confidence intervals", "Glossary"),
    ],
)
def test_search_finds(
    built_site: Path, browser: Browser, language: str, query: str, title: str
) -> None:
    browser.open(f"{(built_site / language / 'search.html').as_uri()}?q={query}")
    script = (
        "new Promise(done => { const look = () => /[0-9]|[一-龥]/.test("
        "(document.querySelector('p.search-summary') || {}).textContent || '')"
        f" ? done({RESULTS_SHOWN}) : setTimeout(look, 20); look(); }})"
    )
    found = browser.call(
        "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
    )["result"]["value"]
    assert any(title in each for each in found), found


WIDE = """(() => {
  const scrolls = e => e && e.tagName != 'ARTICLE' &&
    (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const right = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll('article *, header *, footer *')].find(
    e => e.getBoundingClientRect().right > right + 1 && !scrolls(e.parentElement));
  return wide ? wide.outerHTML.slice(0, 120) : '';
})()"""  # an element that the reader sees cut, since no box around it scrolls


SCROLLS = "document.documentElement.scrollWidth > innerWidth ? 'scrolls sideways' : ''"


def too_wide(browser: Browser, page: Path, script: str) -> Iterator[str]:
    """Yield what a script finds on a page: on a telephone, light and dark, and on a desktop."""
    browser.open(page.as_uri())
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light")):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[feature])
        assert browser.evaluate("innerWidth") == width
        if found := browser.evaluate(script):
            yield f"{page}, {width} pixels, {scheme}: {found}"


@pytest.mark.browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_is_wider_than_the_screen(
    built_site: Path, browser: Browser, language: str
) -> None:
    pages = [(built_site / language / page).with_suffix(".html") for page in PAGES]
    wide = [found for page in pages for found in too_wide(browser, page, WIDE)]
    assert not wide, "\n".join(wide)


@pytest.mark.browser
def test_no_report_of_the_gallery_is_wider_than_the_screen(
    reports: list[Path], browser: Browser
) -> None:
    wide = [found for report in reports for found in too_wide(browser, report, SCROLLS)]
    assert not wide, "\n".join(wide)
