"""Long forms of command-line options."""

import re
from collections.abc import Sequence


def with_long_options(words: Sequence[str]) -> list[str]:
    """Return command-line arguments with `-c` replaced by `--config`, also where the value is in
    the same argument.
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
