"""Escaping of text for Markdown and HTML, so that it is displayed literally."""

import html
import re

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# headings, lists, rules
_LINE_START = re.compile(r"^(\s*)(?:([#+\-=:])|(\d+)(?=[.)](?:\s|$)))", re.MULTILINE)


def markdown(text: str) -> str:
    """Return the text as one line of Markdown that displays it literally; safe in a paragraph, a
    list item and a table cell.
    """
    text = _MARKDOWN.sub(r"\\\1", text.strip())
    text = _LINE_START.sub(
        lambda match: f"{match[1]}{match[3]}\\" if match[3] else f"{match[1]}\\{match[2]}", text
    )
    return html.escape(text, quote=False).replace("\n", "<br>")


def code_span(text: str) -> str:
    """Return the text as a Markdown code span, with a fence longer than any run of backticks in
    it.
    """
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return fence + pad + text.replace("\n", " ") + pad + fence


def in_cell(text: str) -> str:
    """Escape the vertical bars of Markdown text for a table cell, including those in code spans."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def code_block(text: str) -> str:
    """Return the text as a fenced Markdown code block, with a fence longer than any run of
    backticks in it.
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
