"""The command that is running, and how it ends: errors, stops, and the command that continues
it.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.configuration.pipes import command_to_repeat
from lslm_lightning.safety.redaction import redacted_arguments

if TYPE_CHECKING:
    from lslm_lightning.evaluation.results import Results
    from lslm_lightning.tracking import Tracker

PARENT = "LSLM_PARENT"  # tells a command which process waits for it


class WorkError(RuntimeError):
    """Some part of the work failed, as the message says; the rest was done.

    Attributes:
        results: of the rest of an evaluation, where there are any.
    """

    results: "Results | None" = None


@contextmanager
def true_ending(tracker: "Tracker") -> Iterator[None]:
    """Report to MLflow how the body ended: FINISHED, FAILED, or KILLED if it was interrupted."""
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
    """Return whether an exception means that the process was asked to stop, by Ctrl-C or a
    signal.
    """
    return isinstance(error, KeyboardInterrupt) or hasattr(error, "signum")


_is_call: ContextVar[bool] = ContextVar("is_call", default=False)
_words: ContextVar[tuple[str, ...] | None] = ContextVar("words", default=None)


@contextmanager
def working_on(words: Sequence[str], is_call: bool = False) -> Iterator[None]:
    """Set the arguments that `command_words` returns within the body.

    Args:
        is_call: whether a call from Python works, in a process that has other work too.
    """
    token = _words.set(tuple(words))
    before = _is_call.set(is_call)
    try:
        yield
    finally:
        _words.reset(token)
        _is_call.reset(before)


def is_call() -> bool:
    """Return whether the work was started by a call from Python rather than by a command."""
    return _is_call.get()


def command_words() -> list[str]:
    """Return the arguments of the running command, or of the command that a call from Python stands
    for.
    """
    words = _words.get()
    return list(sys.argv[1:] if words is None else words)


def command_line(words: Sequence[str] | None = None, config: Path | None = None) -> str:
    """Return the `lslm` command line as typed in a shell, without secrets and temporary files.

    Args:
        words: default: those of the command at work.
        config: has every setting of the command, and stands for a config that came through a pipe.
    """
    given = command_words() if words is None else words
    return shlex.join(["lslm", *redacted_arguments(command_to_repeat(given, config))])


@contextmanager
def way_on(line: str) -> Iterator[None]:
    """Attach the line that says how to continue to the exception that stops the body, unless it has
    one already.

    Args:
        line: "To go on: COMMAND"; "" where another process tells it.
    """
    try:
        yield
    except BaseException as error:
        if is_stop(error) and getattr(error, "way_on", None) is None:
            error.way_on = line
        raise


def one_line(error: BaseException) -> str:
    """Return an error's message on one line, with its type where the message alone does not explain
    it.
    """
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
    """Return `text` on one line, with lone surrogates escaped."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
