"""Memory of a job of several processes."""

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

EVERY_SECONDS = 0.2


def peak_memory(process: subprocess.Popen, enough: Callable[[], bool] = lambda: False) -> int:
    """Wait for the end of the process, or for `enough`: the most bytes that it and all it started
    held at one time.

    To look takes about a seventh of a core where they hold a GB.
    """
    root = psutil.Process(process.pid)
    peak = 0
    looked = 0.0
    while process.poll() is None and not enough():
        if time.monotonic() - looked >= EVERY_SECONDS:
            looked = time.monotonic()
            with suppress(psutil.Error):
                peak = max(
                    peak, sum(map(proportional_bytes, [root, *root.children(recursive=True)]))
                )
        time.sleep(EVERY_SECONDS / 20)
    return peak


def proportional_bytes(process: psutil.Process) -> int:
    """PSS of Linux: what several processes share is divided among them; 0 of a process that is
    gone.
    """
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0
