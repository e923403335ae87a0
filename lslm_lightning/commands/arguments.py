"""Argument parser of the commands that do not use LightningCLI. It imports nothing but argparse, so
that --help is fast.
"""

import argparse
import re
import textwrap
from difflib import get_close_matches
from typing import NoReturn

from lslm_lightning.exit_status import SettingsError

WIDEST = 100  # lines of a description


class HelpLayout(argparse.HelpFormatter):
    """Help formatter that wraps prose to the terminal's width and keeps indented lines.

    In an indented line with two columns, the text of the second column (with its continuation
    lines) is wrapped within that column.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
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
    """Return the index at which the second column of an indented line starts; None for other lines
    and for examples.
    """
    found = re.match(r" +(?!lslm )\S.*? {2,}", line)
    return None if found is None else found.end()


def filled(block: str, width: int) -> str:
    """Return a line or paragraph wrapped to `width` characters; an example is not wrapped."""
    column = second_column(block)
    is_example = not is_prose(block) and column is None and re.search(r"\blslm ", block)
    if is_example or len(block) <= width:
        return block
    column = column or len(block) - len(block.lstrip())
    rest = textwrap.wrap(block[column:], width - column, break_on_hyphens=False)
    return block[:column] + f"\n{' ' * column}".join(rest)


class Parser(argparse.ArgumentParser):
    """Argument parser that prints one-line error messages with a suggestion for an unknown
    option.
    """

    def __init__(
        self,
        prog: str | None = None,
        description: str | None = None,
        allow_abbrev: bool = True,
        color: bool | None = None,  # which Python 3.14 gives to parsers of subcommands
    ) -> None:
        super().__init__(prog, description=description, allow_abbrev=allow_abbrev)
        self.formatter_class = HelpLayout
        if color is not None:
            self.color = color

    def error(self, message: str) -> NoReturn:
        """Raise `SettingsError` with the message and, for an unknown option, a suggestion."""
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        near = get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), 1)
        advice = f"did you mean {near[0]}?" if near else f"{self.prog} --help"
        raise SettingsError(f"{' '.join(message.split())}; {advice}")
