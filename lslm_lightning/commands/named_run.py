"""Runs named on the command line, possibly by a pattern."""

import sys

from lslm_lightning.runs import FoundRun, find_run


def named_run(reference: str) -> FoundRun:
    """Return the run that a reference names. A run that a pattern selected is named on standard
    error.

    Raises:
        ValueError: there is no such run.
    """
    found = find_run(reference)
    if found.pattern:
        print(found, file=sys.stderr, flush=True)
    return found
