"""Layout of the help of commands, in the language of the interface."""

import argparse
import re
from collections.abc import Iterable

from lslm_lightning.localization.catalogue import COMMANDS
from lslm_lightning.localization.filled_text import WIDEST, filled_text
from lslm_lightning.localization.translation import translated
from lslm_lightning.localization.width import wrapped

HAN = "[\u4e00-\u9fff]"
MOST_DETAILS = 26  # column at which the help of options starts at most


class HelpLayout(argparse.HelpFormatter):
    """Help formatter that wraps prose to the terminal's width, keeps indented lines, adds defaults,
    and translates.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=MOST_DETAILS)
        self._width = min(self._width, WIDEST)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        shown = translated("usage: ", COMMANDS).replace("： ", "：")
        super().add_usage(usage, actions, groups, shown if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        super().start_section(translated(heading or "", COMMANDS))

    def _get_help_string(self, action: argparse.Action) -> str:
        shown = translated(action.help or "", COMMANDS)
        is_flag = action.nargs == 0
        is_given = not is_flag and action.default not in (None, argparse.SUPPRESS, {}, [])
        if is_given and "default" not in (action.help or ""):
            shown += translated(" (default %(default)s)", COMMANDS).replace(" （", "（")
        return shown

    def format_help(self) -> str:
        return re.sub(f"(?m)^({HAN}+):$", r"\1：", super().format_help())  # titles of groups

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return filled_text(text, width)
