"""Section that is added to a report after it was written, such as that of an audit."""

import re
from pathlib import Path

from markupsafe import escape

from lslm_lightning.files import atomic_write
from lslm_lightning.reports.blocks import Section
from lslm_lightning.reports.page import INDEX, MARKDOWN, section_markdown, template_environment
from lslm_lightning.reports.words import page_language, words


def add_section(folder: Path, section: Section, anchor: str) -> bool:
    """Add a section to the page and the Markdown of a report, at their end, in place of an earlier
    section of the same anchor.

    Args:
        folder: folder of the report.
        anchor: id of the heading on the page, "section-" and letters.

    Returns:
        Whether there is such a report.
    """
    page = folder / INDEX
    if not page.is_file():
        return False
    atomic_write(page, with_section(page.read_text("utf-8"), section, anchor))
    markdown = folder / MARKDOWN
    if markdown.is_file():
        text = markdown.read_text("utf-8")
        atomic_write(markdown, with_markdown(text, section, anchor))
    return True


def with_section(page: str, section: Section, anchor: str) -> str:
    """Return an HTML page with the section before the end of its main part, and a link to it in its
    list of sections.
    """
    page = re.sub(rf'<li><a href="#{anchor}">.*?</li>\n', "", page, flags=re.DOTALL)
    old = rf'<section aria-labelledby="{anchor}">.*?</section>\n'
    page = re.sub(old, "", page, flags=re.DOTALL)
    template = template_environment("html", page_language()).get_template("section.html")
    added = template.render(section=section, anchor=anchor).strip()
    link = f'<li><a href="#{anchor}">{escape(words(section.title))}</a></li>\n'
    before, end, after = page.rpartition("</main>")
    if not end:
        return page
    first, close, rest = before.partition("</ul>\n</nav>")
    return f"{first}{link if close else ''}{close}{rest}{added}\n{end}{after}"


def with_markdown(text: str, section: Section, anchor: str) -> str:
    """Return the Markdown of a report with the section at its end."""
    others = re.sub(rf"<!-- {anchor} -->\n.*?(?=<!-- section-|\Z)", "", text, flags=re.DOTALL)
    return f"{others.rstrip()}\n\n<!-- {anchor} -->\n{section_markdown(section)}\n"
