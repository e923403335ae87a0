"""Untrusted text made harmless: what cannot be seen is made visible, and what a format would obey is escaped."""

import html
import re

_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]  # ESC starts an ANSI sequence
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # embeddings, overrides and isolates: they reorder what is read
_VISIBLE = {code: f"[U+{code:04X}]" for code in (*_CONTROLS, *_BIDI)} | dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)  # surrogates
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
_LINE_START = re.compile(r"^(\s*)(?:([#+\-=:])|(\d+)(?=[.)](?:\s|$)))", re.MULTILINE)  # headings, lists, rules


def visible(text: str) -> str:
    """The text with control characters and bidirectional controls as their code point, such as [U+001B] for ESC.

    Line feeds and tabs stay; CR LF becomes LF. Joiners and direction marks stay too: scripts need them, and the page isolates each text.
    """
    return text.replace("\r\n", "\n").translate(_VISIBLE)


def markdown(text: str) -> str:
    """The text as Markdown that shows just this text, on one line: safe in a paragraph, a list item and a table cell."""
    text = _MARKDOWN.sub(r"\\\1", text.strip())
    text = _LINE_START.sub(lambda match: f"{match[1]}{match[3]}\\" if match[3] else f"{match[1]}\\{match[2]}", text)
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
    """The text as a fenced Markdown code block, the fence longer than any run of backticks within."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
