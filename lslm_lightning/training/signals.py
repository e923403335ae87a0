"""Signals that ask a process to stop, and the exception that is raised for them."""

import os
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TypeAlias

# what `signal.signal` sets and returns
Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Interrupted(BaseException):
    """Exception for a signal that asked the process to stop.

    It is no `Exception`, so that handlers of errors do not catch it, and no `KeyboardInterrupt`,
    since Lightning turns that into exit status 1.

    Attributes:
        signum: the signal, SIGINT for Ctrl-C.
        suggestion: one line on how to continue the run; None if this is unknown when the
            exception is raised.
        together: whether all ranks stop at the same step.
    """

    def __init__(self, signum: int, message: str = "", together: bool = False) -> None:
        super().__init__(message or f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum
        self.together = together
        self.suggestion: str | None = None


def stopping_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to stop. SIGUSR1 is one of them, since SLURM sends it
    before the time limit of a job.

    SIGHUP (the terminal was closed) is included unless it is ignored, as under nohup.
    """
    asked = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGUSR1"):  # Windows has neither
        asked.append(signal.SIGUSR1)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return asked


def leave_lost_terminal(signum: int) -> None:
    """Redirect output to the null device if the signal is SIGHUP and the terminal is gone, since
    printing to it would raise an error.
    """
    for stream in (1, 2) if signum == getattr(signal, "SIGHUP", None) else ():
        if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def stop_at_once(signum: int, frame: FrameType | None) -> None:
    """Raise `Interrupted`. Signal handler for work that has nothing to save."""
    leave_lost_terminal(signum)
    raise Interrupted(signum)


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals by the given handlers inside the context, then by the earlier ones again."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def stoppable() -> AbstractContextManager[None]:
    """Raise `Interrupted` for signals that ask the process to stop, inside the context."""
    return handling(dict.fromkeys(stopping_signals(), stop_at_once))
