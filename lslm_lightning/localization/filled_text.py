"""Texts of help, translated and wrapped to the width of a terminal."""

import re

from lslm_lightning.localization.catalogue import COMMANDS
from lslm_lightning.localization.translation import translated
from lslm_lightning.localization.width import text_width, wrapped

WIDEST = 100  # columns of a line


def filled_text(text: str, width: int) -> str:
    """Return a text in the language of the interface, wrapped to `width` columns.

    Indented lines are kept. In an indented line with two columns, the text of the second column
    (with its continuation lines) is translated, and wrapped within that column.
    """
    blocks: list[str] = []
    for line in text.splitlines():
        before = blocks[-1] if blocks else ""
        is_more_prose = is_prose(line) and is_prose(before)
        column = second_column(before)
        n_space = len(line) - len(line.lstrip())
        is_more = column is not None and n_space >= column and second_column(line) is None
        if is_more_prose or is_more:
            blocks[-1] += f" {line.strip()}"
        else:
            blocks.append(line)
    return "\n".join(filled(block, min(width, WIDEST)) for block in blocks)


def is_prose(line: str) -> bool:
    """Return whether a line of a description is prose, that is, starts at the left margin; examples
    and lists are indented.
    """
    return line[:1].strip() != ""


def second_column(line: str) -> int | None:
    """Return the index at which the second column of an indented line starts; None for lines of one
    column.
    """
    found = re.match(r" +\S.*? {2,}(?=\S)", line)
    return None if found is None else found.end()


def filled(block: str, width: int) -> str:
    """Return a line or paragraph, translated and wrapped to `width` columns; an example is not
    wrapped.
    """
    second = second_column(block)
    column = second or len(block) - len(block.lstrip())
    is_example = not is_prose(block) and re.search(r"\blslm ", block[:second]) is not None
    if second or not is_example:
        block = block[:column] + translated(block[column:], COMMANDS)
    if is_example or text_width(block) <= width:
        return block
    return block[:column] + f"\n{' ' * column}".join(wrapped(block[column:], width - column))
