"""Messages of our own code on standard error."""

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class StandardError(logging.Handler):
    """Writes to what standard error is at the time: several commands may run in one process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print(self.format(record), file=sys.stderr, flush=True)


def show_log() -> None:
    """What our own code tells while it works, as plain lines on standard error."""
    log = logging.getLogger("lslm_lightning")
    if not log.handlers:
        log.addHandler(StandardError())
        log.setLevel(logging.INFO)
        log.propagate = False
