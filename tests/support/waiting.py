"""Waiting in tests: for events, never for a number of seconds that a busy machine may need more
of.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 600.0  # seconds after which something hangs, however slow and busy the machine is


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail where the body takes more than ten times the `seconds` that it may on a quiet
    machine.
    """
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < 10 * seconds, f"took {took:.1f} s, {seconds:g} s are expected on a quiet machine"


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds.

    Args:
        what: the condition in words, for the message where it never does.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never true: {what}"
        time.sleep(0.02)


def make_interruptible() -> None:
    """Let Ctrl-C reach this process and its children where a shell started it in the background,
    with SIGINT ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
