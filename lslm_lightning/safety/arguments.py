"""Command-line arguments: their secrets are added to the known secrets and hidden from other users,
who see the arguments of a process.
"""

import json
import os
from collections.abc import Mapping, Sequence

from lslm_lightning.safety.redaction import learn_arguments, redacted_arguments

VARIABLE = "LSLM_ARGUMENTS"  # arguments for a process that we start, which `ps` does not show


def given_arguments(argv: Sequence[str]) -> list[str]:
    """Return `argv` and the arguments passed in the environment variable `LSLM_ARGUMENTS`, and add
    their secrets to the known secrets.
    """
    try:
        hidden = [str(word) for word in json.loads(os.environ.get(VARIABLE, "[]"))]
    except (ValueError, TypeError):  # not as `hide_arguments` writes it
        hidden = []
    words = [*argv, *hidden]
    learn_arguments(words)
    return words


def hide_arguments(words: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """Split arguments into visible arguments and environment variables.

    Arguments of the form `--name=value` with a secret value are moved into `LSLM_ARGUMENTS`, where
    a `lslm` process finds them. All others remain visible.
    """
    shown = redacted_arguments(words)
    secret = [word for word, other in zip(words, shown, strict=True) if word != other]
    hidden = [word for word in secret if word.startswith("--") and "=" in word]
    seen = [word for word in words if word not in hidden]
    return seen, {VARIABLE: json.dumps(hidden)} if hidden else {}
