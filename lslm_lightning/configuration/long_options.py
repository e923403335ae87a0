"""Options of a command in their long form."""

import re
from collections.abc import Sequence


def spelled_out(words: Sequence[str]) -> list[str]:
    """Return words of a command with `--config` for `-c`, also where that has its value in the same
    word.
    """
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
