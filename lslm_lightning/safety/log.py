"""Log messages of this package on standard error."""

import logging
import sys


class StandardError(logging.Handler):
    """Log handler that writes to the current `sys.stderr`, which differs between commands that run
    in one process.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record as one line."""
        print(self.format(record), file=sys.stderr, flush=True)


def show_log() -> None:
    """Print log messages of this package (level INFO and above) as plain lines on standard
    error.
    """
    log = logging.getLogger("lslm_lightning")
    if not log.handlers:
        log.addHandler(StandardError())
        log.setLevel(logging.INFO)
        log.propagate = False
