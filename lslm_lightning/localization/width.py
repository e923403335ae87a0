"""Width of texts on a terminal, where Chinese characters and punctuation take two columns."""

import re
import unicodedata

CHUNKS = re.compile(r"[^\s\u2e80-\uffef]+|[\u2e80-\uffef]|\s+")  # words, wide characters, spaces
NOT_FIRST = "，。；：！？、）》」』”’…"  # which begin no line


def text_width(text: str) -> int:
    """Return the number of columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def padded(text: str, width: int) -> str:
    """Return a text with spaces behind it, at least `width` columns wide."""
    return text + " " * (width - text_width(text))


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` columns. Lines are broken at spaces and between
    Chinese characters, never before closing punctuation.
    """
    units: list[str] = []
    for chunk in CHUNKS.findall(" ".join(text.split())):
        if units and (chunk[0] in NOT_FIRST or units[-1][-1:] in "（《「『“‘"):
            units[-1] += chunk
        else:
            units.append(chunk)
    lines = [""]
    for unit in units:
        if lines[-1] and text_width(lines[-1] + unit.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += unit if lines[-1] else unit.lstrip()
    return [*lines[:-1], lines[-1].rstrip()]
