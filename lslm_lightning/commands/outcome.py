"""How a command ends: its exit status, and one line when it failed."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lslm_lightning.tracking import Tracker

DONE, FAILED, WRONG_ARGUMENTS = 0, 1, 2


class WorkError(RuntimeError):
    """A part of the work failed, as the message says; what else there was to do was done."""


@contextmanager
def true_ending(tracker: "Tracker") -> Iterator[None]:
    """MLflow is told how what is inside ended: FINISHED, FAILED, or KILLED by Ctrl-C or a signal."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except Exception:
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        tracker.end(status)


def is_stop(error: BaseException) -> bool:
    """Whether someone asked this process to stop, by Ctrl-C or a signal."""
    return isinstance(error, KeyboardInterrupt) or hasattr(error, "signum")


def one_line(error: BaseException) -> str:
    """What happened, without line breaks; the kind of error only where its words do not explain themselves."""
    kind = type(error).__name__
    try:
        if isinstance(error, OSError) and error.strerror and error.filename:
            names = [error.filename, error.filename2]  # of a copy, which names the full disk last
            return _plain(f"{' to '.join(str(name) for name in names if name)}: {error.strerror}")
        words = _plain(str(error))
    except Exception:  # an error of somebody else's, whose own text is broken
        return kind
    ours = type(error).__module__.partition(".")[0] == "lslm_lightning"
    if words and (ours or isinstance(error, ValueError | OSError | ArithmeticError)):
        return words
    return f"{kind}: {words}" if words else kind


def _plain(text: str) -> str:
    """`text` in one line; half surrogate pairs, as of file names in Latin-1, are spelled out."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def outcome(work: Callable[[], int], debug: bool = False) -> int:
    """The exit status of `work`; its errors become one line on standard error, with the traceback when asked."""
    _show_log()
    try:
        return work() or DONE
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else DONE if error.code is None else FAILED
    except KeyboardInterrupt:
        print("lslm: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"lslm: {one_line(error)}", file=sys.stderr)
        return FAILED
    except BaseException as error:
        if not hasattr(error, "signum"):
            raise
        print(f"lslm: {one_line(error).removeprefix('Interrupted: ')}", file=sys.stderr)
        return 128 + error.signum


class StandardError(logging.Handler):
    """Writes to what standard error is at the time: several commands may run in one process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print(self.format(record), file=sys.stderr, flush=True)


def _show_log() -> None:
    """What our own code tells while it works, as plain lines on standard error."""
    log = logging.getLogger("lslm_lightning")
    if not log.handlers:
        log.addHandler(StandardError())
        log.setLevel(logging.INFO)
        log.propagate = False
