"""Runs named on the command line, possibly by a pattern."""

import sys

from lslm_lightning.runs import choose_run


def named_run(reference: str) -> str:
    """Return the path of the newest run that matches a pattern, and name this run on standard
    error.

    A reference that is not a pattern is returned unchanged.

    Raises:
        ValueError: no run matches the pattern.
    """
    chosen = choose_run(reference)
    if chosen is None:
        return reference
    print(chosen, file=sys.stderr, flush=True)
    return str(chosen.path)
