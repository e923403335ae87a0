"""Life of the processes of a server, which end with the one that started them."""

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread


def follow(life: Connection) -> None:
    """End this process when a connection ends, and not at a signal, which is for the process that
    started it.

    Args:
        life: connection whose end means that the other process has gone, or wants this to end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Thread(target=end_with, args=(life,), daemon=True).start()


def end_with(life: Connection) -> None:
    """End this process, whatever it computes, when a connection ends."""
    with suppress(EOFError, OSError):
        life.recv()
    os._exit(0)
