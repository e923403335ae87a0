"""Sheet of a human evaluation as one self-contained page, which works offline, keeps what was
answered in the browser, and gives it back as a CSV file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lslm_lightning.contracts import Example
from lslm_lightning.files import atomic_write
from lslm_lightning.human.design import LEFT, RIGHT, SAME, Method, SheetRow
from lslm_lightning.human.sheets import ANSWERS, CATEGORIES, NO_ERRORS, SEVERITIES
from lslm_lightning.localization import CHINESE, ENGLISH, REPORTS, interface_language
from lslm_lightning.localization.translation import catalogue
from lslm_lightning.reports.explorer import in_script
from lslm_lightning.reports.page import csp_digest
from lslm_lightning.safety.display import safe_text

TEMPLATES = Path(__file__).parent / "templates"
PAGE_WORDS = (  # that the page shows
    "Human evaluation",
    "source",
    "reference",
    "output",
    "output A",
    "output B",
    "How good is this output, from 0 (useless) to 100 (perfect)?",
    "Select what is wrong in the output, then its severity. Without errors, go on.",
    "Which output is better?",
    "A is better",
    "B is better",
    "the same",
    "minor",
    "major",
    "critical",
    "accuracy",
    "omission",
    "addition",
    "fluency",
    "terminology",
    "style",
    "other",
    "category",
    "the whole output",
    "no errors",
    "remove",
    "comment",
    "back",
    "next",
    "next unanswered",
    "Download the answers",
    "answered",
    "All rows are answered. Download the answers and send the file back.",
    "This browser keeps nothing: download the answers before you close the page.",
    "Keys: digits for the score, Enter to go on, Backspace outside of fields to go back.",
    "Keys: 1 minor, 2 major, 3 critical for the selected text, Enter to go on.",
    "Keys: A or the left arrow, B or the right arrow, S for the same, Enter to go on.",
    "中文",
)


def page_words(language: str) -> dict[str, str]:
    """Return the words of the page in a language, by the English ones."""
    if language == ENGLISH:
        return {text: text for text in PAGE_WORDS}
    return {text: catalogue(REPORTS, language).translated(text) for text in PAGE_WORDS}


def sheet_data(
    sheet: str,
    method: Method,
    rows: Sequence[SheetRow],
    examples: Sequence[Example],
    reference: bool,
) -> dict[str, object]:
    """Return what the script of the page reads: nothing of a row but its random id and its texts.

    Args:
        sheet: random name of the sheet, under which the browser keeps the answers.
        reference: show the first reference beside the source.
    """
    shown = []
    for row in rows:
        example = examples[row.item]
        texts = {
            "id": row.id,
            "source": safe_text(example.text),
            "texts": [safe_text(text) for text in row.texts],
            "language": example.language,
            "sourceLanguage": example.source_language,
        }
        if reference and example.references:
            texts["reference"] = safe_text(example.references[0])
        shown.append(texts)
    return {
        "sheet": sheet,
        "method": method,
        "column": ANSWERS[method],
        "sides": [LEFT, RIGHT, SAME],
        "severities": list(SEVERITIES),
        "categories": list(CATEGORIES),
        "none": NO_ERRORS,
        "language": interface_language(),
        "words": {language: page_words(language) for language in (ENGLISH, CHINESE)},
        "rows": shown,
    }


def write_page(
    path: Path,
    sheet: str,
    method: Method,
    rows: Sequence[SheetRow],
    examples: Sequence[Example],
    reference: bool,
) -> None:
    """Write the page of an annotator, atomically; see `sheet_data` for the arguments."""
    data = sheet_data(sheet, method, rows, examples, reference)
    style = (TEMPLATES / "sheet.css").read_text("utf-8")
    script = (TEMPLATES / "sheet.js").read_text("utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("sheet.html").render(
        language="zh-CN" if data["language"] == CHINESE else "en",
        style=Markup(style),
        style_digest=csp_digest(style),
        script=Markup(script),
        script_digest=csp_digest(script),
        data=in_script(json.dumps(data, ensure_ascii=False)),
        file=path.stem,
    )
    atomic_write(path, page)
