"""Arguments of the commands that are not LightningCLI's; argparse alone, so that --help answers at once."""

import argparse
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from lslm_lightning.commands.outcome import WRONG_ARGUMENTS


def spelled_out(words: Sequence[str]) -> list[str]:
    """Return words of a command with `--config` for `-c`, also where that has its value in the same word."""
    short = re.compile("-c(?!-)=?", re.DOTALL)
    found = []
    for word in words:
        if word == "-c":
            found.append("--config")
        elif begin := short.match(word):
            found.append(f"--config={word[begin.end() :]}")
        else:
            found.append(word)
    return found


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest option for one that is not known."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        near = get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), 1)
        hint = f"did you mean {near[0]}?" if near else f"{self.prog} --help"
        print(f"lslm: {' '.join(message.split())}; {hint}", file=sys.stderr)
        raise SystemExit(WRONG_ARGUMENTS)
