"""How a command ends: its exit status, and one line when it failed."""

import _thread
import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm_lightning.commands.pipes import command_to_repeat
from lslm_lightning.safety.redaction import redacted_arguments
from lslm_lightning.training.signals import stop_at_once

if TYPE_CHECKING:
    from lslm_lightning.tracking import Tracker

DONE = 0
FAILED = 1
WRONG_ARGUMENTS = 2
AGAIN_SECONDS = 0.05  # from a stop that was dropped to the next try
PARENT = "LSLM_PARENT"  # tells a command which process waits for it


class WorkError(RuntimeError):
    """A part of the work failed, as the message says; what else there was to do was done."""


@contextmanager
def true_ending(tracker: "Tracker") -> Iterator[None]:
    """MLflow is told how what is inside ended: FINISHED, FAILED, or KILLED by Ctrl-C or a
    signal.
    """
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


def command_line(words: Sequence[str] | None = None, config: Path | None = None) -> str:
    """Return `lslm WORDS` as it is typed in a shell, without secrets and temporary files.

    Args:
        words: default: those that this process was started with.
        config: has every setting of the command, and stands for a config that came through a pipe.
    """
    given = sys.argv[1:] if words is None else words
    return shlex.join(["lslm", *redacted_arguments(command_to_repeat(given, config))])


@contextmanager
def way_on(line: str) -> Iterator[None]:
    """Tell how to go on to whoever stops what is inside; a part of it that was stopped may know
    better.

    Args:
        line: "To go on: COMMAND"; "" where another process tells it.
    """
    try:
        yield
    except BaseException as error:
        if is_stop(error) and getattr(error, "way_on", None) is None:
            error.way_on = line
        raise


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Interrupted` where nobody else handles it: the work cleans up and
    says how to go on.

    Where Python drops an `Interrupted`, as it does with errors in a destructor, the signal comes
    again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook
    handler = signal.getsignal(signal.SIGTERM)

    def come_again(dropped: Any) -> None:
        if not is_stop(dropped.exc_value):
            hook(dropped)
            return
        number = getattr(dropped.exc_value, "signum", signal.SIGINT)
        again = threading.Timer(AGAIN_SECONDS, signal_main_thread, (number,))
        again.daemon = True
        again.start()  # at once, it would be dropped within this very hook

    sys.unraisablehook = come_again
    if handler == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop_at_once)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if handler == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, handler)


def signal_main_thread(number: int) -> None:
    """Send a signal to the main thread, which is woken if it waits; Windows cannot wake it."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)


def one_line(error: BaseException) -> str:
    """What happened, without line breaks; the kind of error only where its words do not explain
    themselves.
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
    """`text` in one line; half surrogate pairs, as of file names in Latin-1, are spelled out."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def outcome(work: Callable[[], int], debug: bool = False) -> int:
    """Return the exit status of `work`; its errors become one line on standard error, with the
    traceback when asked.
    """
    _show_log()
    try:
        with terminable():
            return work() or DONE
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else DONE if error.code is None else FAILED
    except KeyboardInterrupt as error:
        _say_stopped("interrupted", error)
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
        _say_stopped(one_line(error).removeprefix("Interrupted: "), error)
        return 128 + error.signum


def _say_stopped(words: str, error: BaseException) -> None:
    print(f"lslm: {words}", file=sys.stderr)
    if line := getattr(error, "way_on", None):
        print(line, file=sys.stderr, flush=True)


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
