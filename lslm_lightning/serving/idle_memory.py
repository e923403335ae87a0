"""Memory that an idle process has freed but still holds."""

import ctypes
import gc
from contextlib import suppress

IDLE_SECONDS = 2.0  # without work, after which free memory is given back


def give_back_memory() -> None:
    """Free objects that refer to each other, and give memory that the C library keeps for later use
    back to the system, where it can (glibc).

    It keeps what was freed below a block that is still in use, so that without this a process
    stays as large as its largest requests have made it.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none that is found
        ctypes.CDLL(None).malloc_trim(0)
