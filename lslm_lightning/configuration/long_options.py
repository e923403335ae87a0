"""Long forms of command-line options."""

import re
from collections.abc import Sequence


def with_long_options(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with `-c` replaced by `--config`, also in `-cFILE`."""
    short = re.compile("-c(?!-)=?", re.DOTALL)
    found = []
    for argument in arguments:
        if argument == "-c":
            found.append("--config")
        elif prefix := short.match(argument):
            found.append(f"--config={argument[prefix.end() :]}")
        else:
            found.append(argument)
    return found
