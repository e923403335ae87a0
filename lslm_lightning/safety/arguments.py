"""Command-line arguments: their secrets are learned, and kept out of what other users see of a
process.
"""

import json
import os
from collections.abc import Mapping, Sequence

from lslm_lightning.safety.redaction import learn_arguments, redacted_arguments

VARIABLE = "LSLM_ARGUMENTS"  # arguments for a process that we start, which `ps` does not show


def given_arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments of this process, with those that came through its environment, and learn
    their secrets.
    """
    try:
        hidden = [str(word) for word in json.loads(os.environ.get(VARIABLE, "[]"))]
    except (ValueError, TypeError):  # not as `hide_arguments` writes it
        hidden = []
    words = [*argv, *hidden]
    learn_arguments(words)
    return words


def hide_arguments(words: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """Return the arguments that others may see, and environment variables that pass the secret ones
    to a `lslm` process.

    Only arguments of the form `--name=value` are moved.
    """
    shown = redacted_arguments(words)
    secret = [word for word, other in zip(words, shown, strict=True) if word != other]
    hidden = [word for word in secret if word.startswith("--") and "=" in word]
    seen = [word for word in words if word not in hidden]
    return seen, {VARIABLE: json.dumps(hidden)} if hidden else {}
