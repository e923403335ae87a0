"""Handling of how work ends: errors, stops, and the run status reported to MLflow."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from lslm_lightning.evaluation.results import Results
    from lslm_lightning.tracking.tracker import Tracker

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAKE_ROOM = "free space on the disk, or raise your quota or the limit of this shell (`ulimit -f`)"

EndStatus: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]  # of a run, in MLflow


class WorkError(RuntimeError):
    """Error for work of which one part failed while the rest was completed.

    Attributes:
        results: results of the systems that did not fail, if the work is an evaluation; otherwise
            None.
    """

    results: "Results | None" = None


@contextmanager
def final_status(tracker: "Tracker") -> Iterator[None]:
    """Report to MLflow how the body of the `with` statement ended: FINISHED, FAILED, or KILLED if
    it was interrupted.
    """
    status: EndStatus = "FAILED"
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
    """Return whether an exception means that the process was asked to stop, by Ctrl-C or a
    signal.
    """
    return isinstance(error, KeyboardInterrupt) or hasattr(error, "signum")


@contextmanager
def suggest_command(line: str) -> Iterator[None]:
    """Attach a line that says how to continue to any exception that stops the body of the `with`
    statement.

    An exception that already has such a line is left unchanged.

    Args:
        line: "To continue: COMMAND"; "" if another process prints the line.
    """
    try:
        yield
    except BaseException as error:
        if is_stop(error) and getattr(error, "suggestion", None) is None:
            attach_suggestion(error, line)
        raise


def attach_suggestion(error: BaseException, line: str) -> None:
    """Set the line that a command prints when `error` stops it.

    Args:
        line: "To continue: COMMAND"; "" to print nothing.
    """
    error.suggestion = line  # type: ignore[attr-defined]  # any exception may stop the work


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line, with the exception's type if the message
    needs it.
    """
    kind = type(error).__name__
    try:
        if isinstance(error, OSError) and error.strerror and error.filename:
            names = [error.filename, error.filename2]  # of a copy, which names the full disk last
            told = _plain(f"{' to '.join(str(name) for name in names if name)}: {error.strerror}")
            return f"{told}; {MAKE_ROOM}" if error.errno in NO_ROOM else told
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return f"{error.strerror}; {MAKE_ROOM}"
        message = _plain(str(error))
    except Exception:  # an error of somebody else's, whose own text is broken
        return kind
    ours = type(error).__module__.partition(".")[0] == "lslm_lightning"
    if message and (ours or isinstance(error, ValueError | OSError | ArithmeticError)):
        return message
    return f"{kind}: {message}" if message else kind


def _plain(text: str) -> str:
    """Return `text` on one line, with lone surrogates escaped."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
