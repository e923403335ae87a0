"""Explanations of errors raised by systems under evaluation."""

import traceback
from pathlib import Path

from lslm_lightning.experiments.endings import is_stop, one_line
from lslm_lightning.safety.redaction import redacted

LONGEST_REASON = 500  # characters of an error's text in tables and reports
FORESEEN = (ValueError, RuntimeError, OSError)  # errors that explain themselves


def failure(error: BaseException) -> str:
    """Return the message of an exception on one line of limited length, with secrets removed.

    For unexpected errors, the file name and line that raised the error are added.

    Raises:
        BaseException: `error` itself, if it asks this process to stop.
    """
    if is_stop(error):
        raise error
    reason = redacted(one_line(error))
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}..."
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, FORESEEN) or not frames:
        return reason
    return f"{reason} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
