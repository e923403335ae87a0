"""Runs named on the command line, by pattern too."""

import sys

from lslm_lightning.runs import choose_run


def named_run(reference: str) -> str:
    """Return the newest run that matches a pattern and print which it is on standard error; return
    other references unchanged.

    Raises:
        ValueError: nothing matches the pattern.
    """
    chosen = choose_run(reference)
    if chosen is None:
        return reference
    print(chosen, file=sys.stderr, flush=True)
    return str(chosen.path)
