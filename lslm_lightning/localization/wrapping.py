"""Texts in a terminal, where a Chinese character is as wide as two Latin letters."""

import re
from unicodedata import east_asian_width

WIDE = "[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]"
OPENING = "（《“「"
CLOSING = "，。；：、！？）》”」"
UNIT = re.compile(  # that no line ends within
    rf"[{OPENING}]*(?:(?!\s|[{OPENING}{CLOSING}]|{WIDE}).)+[{CLOSING}]*"
    rf"|[{OPENING}]*{WIDE}[{CLOSING}]*|[{CLOSING}{OPENING}]+|\s+"
)


def display_width(text: str) -> int:
    """Return the number of columns that a text takes in a terminal."""
    return len(text) + sum(east_asian_width(character) in "WF" for character in text)


def padded(text: str, width: int) -> str:
    """Return a text followed by the spaces that fill `width` columns."""
    return text + " " * (width - display_width(text))


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` columns.

    Lines end at spaces, and between Chinese characters except before punctuation that closes. What
    is wider than a line is cut.
    """
    lines = [""]
    for unit in UNIT.findall(text):
        if unit.isspace():
            lines[-1] += " " if lines[-1] else ""
            continue
        if display_width(lines[-1] + unit) > width and lines[-1]:
            lines.append("")
        while display_width(unit) > width:
            lines[-1], unit = unit[:width], unit[width:]
            lines.append("")
        lines[-1] += unit
    return [line.rstrip() for line in lines]
