"""What asks a process to stop, and the error that it becomes."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """Someone asked the process to stop. Not an `Exception`, and not a `KeyboardInterrupt`, which
    Lightning turns into exit status 1.

    Attributes:
        signum: the signal, SIGINT for Ctrl-C.
        way_on: how to go on, in a line; None where whoever raised it does not know.
        together: whether all ranks stop at this step.
    """

    def __init__(self, signum: int, message: str = "", together: bool = False) -> None:
        super().__init__(message or f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum
        self.together = together
        self.way_on: str | None = None


def stopping_signals() -> list[signal.Signals]:
    """Those that ask a process to stop, SIGUSR1 before SLURM takes the machine away.

    SIGHUP, of a closed terminal, is none of them where it is ignored, as under nohup.
    """
    asked = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGUSR1"):  # Windows has neither
        asked.append(signal.SIGUSR1)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return asked


def leave_lost_terminal(signum: int) -> None:
    """After SIGHUP, what is still printed to a terminal that is gone goes nowhere, instead of
    raising an error.
    """
    for stream in (1, 2) if signum == getattr(signal, "SIGHUP", None) else ():
        if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def stop_at_once(signum: int, frame: FrameType | None) -> None:
    """Signal handler outside of training: nothing to save."""
    leave_lost_terminal(signum)
    raise Interrupted(signum)


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, what asks the process to stop raises `Interrupted`; outside, signals are handled as
    before.
    """
    before = {number: signal.signal(number, stop_at_once) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
