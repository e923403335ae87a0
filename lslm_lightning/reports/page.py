"""Rendering of a report as one self-contained HTML page and as Markdown.

The page opens from disk and makes no network requests. Its only script is the project's own, and
only if outputs can be searched; a content security policy forbids all others. Every value is made
safe to show (`display.safe_text`) and then escaped for its format before a template prints it.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import cache, partial
from numbers import Integral, Real
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lslm_lightning.files import atomic_write
from lslm_lightning.reports import escaping
from lslm_lightning.reports.blocks import Interval, Report, Section
from lslm_lightning.reports.explorer import Explorer, localized_script
from lslm_lightning.reports.formatting import number
from lslm_lightning.reports.recordings import Sound
from lslm_lightning.reports.samples import Samples
from lslm_lightning.reports.words import (
    colon,
    language_of,
    listed_words,
    named,
    page_language,
    sentences,
    words,
)
from lslm_lightning.safety.display import safe_text

TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 5_000_000
N_SAMPLE = 40
N_CHARACTER = 3000
INDEX = "index.html"  # names of the files of a report
MARKDOWN = "report.md"


def render_html(report: Report, n_sample: int = N_SAMPLE) -> str:
    """Return the HTML page, with at most `n_sample` samples in each block of samples."""
    style = (TEMPLATES / "style.css").read_text("utf-8")
    if page_language().startswith("zh"):
        style += (TEMPLATES / "chinese.css").read_text("utf-8")
    script = ""
    if contains_block(report, Explorer):
        script = localized_script((TEMPLATES / "explorer.js").read_text("utf-8"))
    inline = {
        "style": Markup(style),
        "digest": csp_digest(style),
        "script": Markup(script),
        "script_digest": csp_digest(script),
        "language": page_language(),
    }
    return (
        template_environment("html", page_language())
        .get_template("page.html")
        .render(report=limited(report, n_sample), sounds=contains_block(report, Sound), **inline)
    )


def contains_block(block: object, kind: type) -> bool:
    """Return whether `block` (a report, a section or a block) is, or contains, a block of class
    `kind`.
    """
    inner = getattr(block, "sections", None) or getattr(block, "blocks", None) or []
    return isinstance(block, kind) or any(contains_block(part, kind) for part in inner)


def csp_digest(text: str) -> str:
    """Return the SHA-256 digest of a script or style in base64, as a content security policy lists
    it.
    """
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def render_markdown(report: Report, n_sample: int = N_SAMPLE) -> str:
    """Return the report as Markdown (GitHub's tables), with at most `n_sample` samples in each
    block of samples. Figures become tables, and differences are not marked.
    """
    template = template_environment("md", page_language()).get_template("page.md")
    text = template.render(report=limited(report, n_sample))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def section_markdown(section: Section) -> str:
    """Return one section as Markdown, in the language of the interface."""
    template = template_environment("md", page_language()).get_template("section.md")
    return re.sub(r"\n{3,}", "\n\n", template.render(section=section)).strip()


def write_report(report: Report, directory: str | os.PathLike[str]) -> Path:
    """Write `index.html` and `report.md` into `directory`, which is created if needed; return the
    path of the page.

    The page shows fewer samples if it would exceed 5 MB.

    Raises:
        ValueError: the page exceeds 5 MB even with one sample.
    """
    directory = Path(directory)
    page, n_sample = fitting_html(report)
    atomic_write(directory / MARKDOWN, render_markdown(report, n_sample))
    path = directory / INDEX
    atomic_write(path, page)
    return path


def write_page(report: Report, path: Path) -> Path:
    """Write a report as one HTML page alone, and return its path; see `write_report`."""
    page, _ = fitting_html(report)
    atomic_write(path, page)
    return path


def fitting_html(report: Report) -> tuple[bytes, int]:
    """Return the HTML page in UTF-8, and the number of samples in each of its blocks, with which it
    stays below 5 MB.

    Raises:
        ValueError: the page exceeds 5 MB even with one sample.
    """
    n_sample = N_SAMPLE
    while len(page := render_html(report, n_sample).encode()) >= MAX_BYTES:
        if n_sample == 1:
            raise ValueError(
                f"report of {len(page):,} bytes must stay below {MAX_BYTES:,}; give it fewer or "
                "smaller figures and tables"
            )
        n_sample //= 2
    return page, n_sample


def limited(block: object, n_sample: int) -> object:
    """Return `block` (a report, a section or a block) with at most `n_sample` samples in each block
    of samples and with long texts cut.
    """
    if isinstance(block, Samples | Explorer):
        return block.limited(n_sample, N_CHARACTER)
    inner = "sections" if isinstance(block, Report) else "blocks"
    if not is_dataclass(block) or isinstance(block, type) or not hasattr(block, inner):
        return block
    return replace(block, **{inner: [limited(part, n_sample) for part in getattr(block, inner)]})


def _plain(value: object, places: int | None = None) -> str:
    """Return a value as plain text: "yes" or "no", a formatted number, or safe text.

    "yes", "no", intervals and terms are in the language of the interface.
    """
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if isinstance(value, Integral):
        return number(int(value), places)
    if value is None or isinstance(value, Real):
        return number(None if value is None else float(value), places)
    if isinstance(value, str):
        return safe_text(named(value))
    return safe_text(words(str(value)) if isinstance(value, Interval) else value)


def _shown(to_format: Callable[[str], str], value: object) -> object:
    """Return a value as a template prints it: markup unchanged, any other value as text escaped by
    `to_format`.
    """
    return value if hasattr(value, "__html__") else Markup(to_format(_plain(value)))


def _decimal(value: float, places: int = 1) -> str:
    """Return a number as SVG writes it, with `places` decimals."""
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


@cache
def template_environment(kind: str, language: str, *folders: Path) -> Environment:
    """Return the environment of the templates of a format ("html" or "md"). Each language has its
    own, since constants in templates are translated once.

    Args:
        folders: folders of templates of other pages, which may import those of reports.
    """
    to_format = {"html": escape, "md": escaping.markdown}[kind]
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        finalize=partial(_shown, to_format),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__.lower(),
        "at": _decimal,
        "plain": _plain,
        "t": lambda text: words(text) if isinstance(text, str) else sentences(text),
        "named": named,
        "listed": listed_words,
        "language": language_of,
        "breakable": lambda text: escape(safe_text(text)).replace("|", Markup("|<wbr>")),
        "code_span": lambda text: Markup(escaping.code_span(safe_text(text))),
        "in_cell": lambda markup: Markup(escaping.in_cell(markup)),
        "code_block": lambda text: Markup(escaping.code_block(safe_text(text))),
    }
    environment.globals["colon"] = colon
    return environment
