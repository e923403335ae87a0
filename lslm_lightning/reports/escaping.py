"""What a format would obey, escaped: Markdown and HTML that show just the text."""

import html
import re

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# headings, lists, rules
_LINE_START = re.compile(r"^(\s*)(?:([#+\-=:])|(\d+)(?=[.)](?:\s|$)))", re.MULTILINE)


def markdown(text: str) -> str:
    """The text as Markdown that shows just this text, on one line: safe in a paragraph, a list item
    and a table cell.
    """
    text = _MARKDOWN.sub(r"\\\1", text.strip())
    text = _LINE_START.sub(
        lambda match: f"{match[1]}{match[3]}\\" if match[3] else f"{match[1]}\\{match[2]}", text
    )
    return html.escape(text, quote=False).replace("\n", "<br>")


def code_span(text: str) -> str:
    """The text as a Markdown code span: a fence longer than any run of backticks within."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return fence + pad + text.replace("\n", " ") + pad + fence


def in_cell(text: str) -> str:
    """Markdown for a table's cell: a table cuts even code at its bars."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def code_block(text: str) -> str:
    """The text as a fenced Markdown code block, the fence longer than any run of backticks
    within.
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
