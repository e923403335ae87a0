"""Markdown of generated texts."""

import re
import textwrap
from collections.abc import Iterable, Sequence

from docs.generate.language import localized

SPECIAL = re.compile(r"([\\*_<>\[\]$#~{}|])")
CODE = re.compile(r"(`+[^`]+`+)")
LEFT, RIGHT = ":---", "---:"


def plain(text: str) -> str:
    """Return text with the characters escaped that have a meaning in Markdown, except in `code`."""
    parts = CODE.split(text)
    return "".join(part if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def code(text: str) -> str:
    """Return text as inline code; "" for no text."""
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def block(text: str, language: str = "text") -> str:
    """Return text as a code block."""
    return f"```{language}\n{textwrap.dedent(text).strip(chr(10))}\n```"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Return a table of cells that are Markdown already.

    Args:
        headings: in English.
        numbers: number of last columns that are aligned to the right.
    """
    aligned = [LEFT] * (len(headings) - numbers) + [RIGHT] * numbers
    lines = [map(localized, headings), aligned, *([cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return the text of one cell, on one line; a `|` in code would end the cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def paragraphs(text: str) -> str:
    """Return a docstring's description in the language of the page: paragraphs, examples after
    `>>>` as code, lists.
    """
    parts = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.lstrip().startswith(">>>"):
            parts.append(block(part, "pycon"))
        elif re.match(r"\s*[-*] ", part):
            lines = re.sub(r"\n\s+(?![-*] )", " ", textwrap.dedent(part)).splitlines()
            parts.append("\n".join(f"- {plain(localized(line.strip()[2:]))}" for line in lines))
        else:
            parts.append(plain(localized(" ".join(part.split()))))
    return "\n\n".join(parts)
