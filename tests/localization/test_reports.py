"""Reports in Chinese have no English heading, label or sentence, and translate no data."""

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.comparison import THIS, Pair
from lslm_lightning.localization import Verbatim, verbatim
from lslm_lightning.localization.catalogue import (
    FIELD,
    FOLDER,
    REPORTS,
    entries_of,
    read_entries,
)
from lslm_lightning.reports import Report, Section, Table, Text, render_html, render_markdown
from lslm_lightning.reports.blocks import Facts, Heading
from lslm_lightning.reports.conclusion import draw_conclusion, qualified, score_sentence
from lslm_lightning.reports.explorer import SCRIPT_WORDS, localized_script
from lslm_lightning.reports.page import TEMPLATES
from lslm_lightning.reports.words import words
from lslm_lightning.serving.page.document import TEMPLATES as PAGE_OF_SERVER
from tests.localization.chinese_reports import reports
from tests.localization.pages import LATIN, latin_words

ROOT = Path(__file__).parents[2]
NAMES = "BLEU chrF TER WER CER CTC CPU GPU IBM Holm Welch Kaplan Grusky et al gram"
SETTINGS = "lslm evaluate compare context stride max_length max_tokens data.language"
UNITS = "ms MB TFLOP"
KNOWN = {*NAMES.split(), *SETTINGS.split(), *UNITS.split()}
HEADINGS = r"^(?:#.*|\*\*.*\*\*|\|.*\|\n(?=\|[ :|-]+\|$))"  # of sections, tables and columns
ENTRIES = entries_of(REPORTS, "zh")


@pytest.fixture(autouse=True)
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_LANG", "zh")


@pytest.mark.slow
def test_pages_of_all_tasks_are_chinese() -> None:
    for name, report in reports().items():
        page = render_html(report)
        assert '<html lang="zh-CN">' in page
        assert latin_words(page, KNOWN) == [], name
        headings = re.findall(HEADINGS, render_markdown(report), re.MULTILINE)
        assert not [line for line in headings if set(LATIN.findall(line)) - KNOWN]


def test_units_of_audits_are_chinese() -> None:
    """A unit is the fourth argument of a figure; those of a metric are translated elsewhere."""
    units = {
        argument.value
        for file in (ROOT / "lslm_lightning/auditing").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "AuditFigure"
        for argument in node.args[3:4]
        if isinstance(argument, ast.Constant)
    }
    assert {"nats", "bits"} <= units
    assert [unit for unit in units - {"", "%"} if words(unit) == unit] == []


def test_the_script_of_the_page_is_chinese() -> None:
    script = localized_script((TEMPLATES / "explorer.js").read_text("utf-8"))
    for literal in SCRIPT_WORDS:
        assert literal not in script, literal


def pair(difference: float, p: float, name: str = "乙", metric: str = "bleu") -> Pair:
    return Pair(THIS, name, metric, difference, difference - 1, difference + 1, p, p, p, 0.5)


@pytest.mark.parametrize("subject", [THIS, "it", '"甲"'])
@pytest.mark.parametrize("n_other", [1, 2, 3])
def test_conclusions_are_chinese(subject: str, n_other: int) -> None:
    own = Score("bleu", 20.5, "", True, "", 50)
    others = {name: Score("bleu", 18.25, "", True, "", 50) for name in "乙丙丁"[:n_other]}
    outcomes = [(2.0, 0.01), (-2.0, 0.01), (0.5, 0.3), (0.0, 1.0), (1.0, float("nan"))]
    for kinds in product(outcomes, repeat=n_other):
        pairs = [pair(*kind, name) for kind, name in zip(kinds, others, strict=True)]
        for noun in ("baseline", "system") if n_other == 1 else ("baseline",):
            found = draw_conclusion(own, others, pairs, subject, noun)
            for sentence in found.sentences:
                assert set(LATIN.findall(words(sentence))) <= {"BLEU"}, sentence
    missing = Score("bleu", float("nan"), "", True, "", 50)
    [sentence] = draw_conclusion(missing, others, pairs, subject).sentences
    assert set(LATIN.findall(words(sentence))) <= {"BLEU"}, sentence


def test_reservations_and_scores_are_chinese() -> None:
    own = [Score("bleu", 20.5, "", True, "", 50), Score("exact_match", 3.0, "%", True, "", 50)]
    other = [Score("bleu", 18.0, "", True, "", 50), Score("exact_match", 9.0, "%", True, "", 50)]
    pairs = [pair(2.0, 0.01, name, metric) for name in "乙丙" for metric in ("bleu", "exact_match")]
    pairs = [
        each if each.metric == "bleu" else pair(-6.0, 0.01, each.second, "exact_match")
        for each in pairs
    ]
    for names in ("乙", "乙丙"):
        bleu = dict.fromkeys(names, other[0])
        found = draw_conclusion(own[0], bleu, pairs)
        found = qualified(found, own, dict.fromkeys(names, other), pairs)
        assert "精确匹配（3.000，对方 9.000）" in words(found.summary)
        assert set(LATIN.findall(words(found.summary))) <= {"BLEU"}
    for n, low, corpus in product((1, 1000), (None, 1.0), (None, "语料")):
        for metric in ("bleu", "bits_per_byte", "exact_match"):
            unit = "%" if metric == "exact_match" else ""
            score = Score(metric, 2.5, unit, True, "", n, low, 3.0)
            sentence = words(score_sentence(score, corpus))
            assert set(LATIN.findall(sentence)) <= {"BLEU"}, sentence


def texts_of(node: ast.AST) -> Iterator[str]:
    """Yield the texts that an expression stands for, with 7 as the value of each field."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from texts_of(node.body)
        yield from texts_of(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple | ast.Dict):
        for each in node.keys if isinstance(node, ast.Dict) else node.elts:
            if each is not None:
                yield from texts_of(each)


BLOCKS = {"Section": 1, "Folded": 1, "Heading": 2, "Text": 1, "Missing": 1, "Term": 1, "Curves": 4}
BLOCKS |= {"Histogram": 3, "Finding": 1, "Table": 4, "Scatter": 4, "cut": 2, "quartiles": 2}
NAMED = {"caption", "notes", "unit", "text", "title", "x_label", "y_label"}
COMPOSED = {"The 7", "7 by 7", "7 on the 7", "% of 7", "7 under 7, the best system."}  # of phrases
SOURCES = [
    *sorted((ROOT / "lslm_lightning/reports").glob("*.py")),
    *sorted((ROOT / "lslm_lightning/evaluation").rglob("*.py")),
    *sorted((ROOT / "lslm_lightning/experiments").glob("*.py")),
    *sorted((ROOT / "lslm_lightning/auditing").glob("*.py")),
    *sorted((ROOT / "tasks").rglob("*.py")),
]


def test_every_text_of_a_block_has_a_translation() -> None:
    missing = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in BLOCKS:
                continue
            arguments = node.args[: BLOCKS[node.func.id]]  # type: ignore[attr-defined]
            named = [each.value for each in node.keywords if each.arg in NAMED]
            missing += [
                f"{path.name}:{node.lineno}: {text}"
                for argument in [*arguments, *named]
                for text in texts_of(argument)
                if set(LATIN.findall(text)) - KNOWN and words(text) == text
            ]
    assert [line for line in missing if line.partition(": ")[2] not in COMPOSED] == []


def n_segment(text: str, known: str) -> int:
    """Return the number of pieces, cut between words, of which each occurs in `known`; 99 if a word
    does not.
    """
    n = 0
    left = text.split()
    while left:
        sizes = range(len(left), 0, -1)
        size = next((i for i in sizes if " ".join(left[:i]) in known), None)
        if size is None:
            return 99
        left = left[size:]
        n += 1
    return n


def test_no_entry_is_left_over() -> None:
    """Each entry is made of few pieces that stand in the code or in a template."""
    known = " ".join(
        node.value
        for path in [*(ROOT / "lslm_lightning").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
        if path.parent.name not in ("commands", "configuration", "models", "decoding")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    pages = [*TEMPLATES.iterdir(), *PAGE_OF_SERVER.iterdir()]
    pages += (ROOT / "lslm_lightning/auditing").glob("*.yaml")
    known += " ".join(path.read_text("utf-8") for path in pages)
    known = " ".join(known.replace("_", " ").split()).lower()
    folder = FOLDER / "zh" / "reports"
    others = read_entries(folder / "scripts.po")  # names that CLDR gives
    others |= read_entries(folder / "system_metrics.po")  # and MLflow
    left = [
        text
        for text in ENTRIES.keys() - others.keys()
        for piece in re.split(r'[":;,().]+', FIELD.sub('"', text).replace("_", " ").lower())
        if n_segment(piece, known) > 4
    ]
    assert left == []


def test_data_is_never_translated() -> None:
    name = "examples"  # a word of the interface
    table = Table([Heading(verbatim(name)), "examples"], [[name, 1]], "Scores")
    blocks = [table, Facts({Verbatim(name): name}), Text(Verbatim(name))]
    page = render_html(Report(Verbatim(name), [Section("Scores", blocks)]))
    assert page.count("examples") == 7  # title twice, heading, cell, fact, its value, paragraph
    assert page.count("样本数") == 1
    assert "分数" in page
