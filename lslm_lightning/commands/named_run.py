"""Runs as they are named on the command line, by patterns too."""

import sys

from lslm_lightning.runs import choose_run


def named_run(reference: str) -> str:
    """Return the run that a pattern stands for, and say on standard error which that is; what is no
    pattern as it is.

    Raises:
        ValueError: nothing matches the pattern.
    """
    chosen = choose_run(reference)
    if chosen is None:
        return reference
    print(chosen, file=sys.stderr, flush=True)
    return str(chosen.path)
