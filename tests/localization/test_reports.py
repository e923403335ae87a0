"""Reports in Chinese have no English heading, label or sentence, and translate no data."""

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.comparison import THIS, Pair
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.localization.catalogue import FIELD, REPORTS, entries_of
from lslm_lightning.reports import Report, Section, Table, Text, render_html, render_markdown
from lslm_lightning.reports.blocks import Facts, Heading
from lslm_lightning.reports.conclusion import draw_conclusion, qualified, score_sentence
from lslm_lightning.reports.explorer import SCRIPT_WORDS
from lslm_lightning.reports.page import TEMPLATES
from lslm_lightning.reports.words import words
from tests.localization.chinese_reports import reports
from tests.localization.pages import LATIN, latin_words

ROOT = Path(__file__).parents[2]
KNOWN = set("BLEU chrF TER WER CER CTC CPU GPU ms MB TFLOP nat IBM Holm Welch et al lslm".split())
KNOWN |= {"max_length", "max_tokens", "Kaplan", "Grusky", "evaluate", "compare", "context", "stride", "Git"}


@pytest.fixture(autouse=True)
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_LANG", "zh")


def test_pages_of_all_tasks_are_chinese() -> None:
    for name, report in reports().items():
        page = render_html(report)
        assert '<html lang="zh-CN">' in page
        assert latin_words(page, KNOWN) == [], name
