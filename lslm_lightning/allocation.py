"""Memory that is freed in one training step and taken again in the next."""

import os
import sys

M_TRIM_THRESHOLD = -1  # names and numbers of glibc's malloc.h
M_MMAP_THRESHOLD = -3
KEPT = 2**30  # bytes of free memory at the end of the heap that stay with the process
# bytes of a block that goes back to the system as soon as it is freed: as many as glibc accepts,
# whose older versions set a limit
LARGEST = (2**28, 2**25)
VARIABLES = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next allocation, and return whether it does.

    By default it hands blocks of more than some megabytes back to the system, which must clear each
    page anew when they are wanted again: a training step of a translation model met 4,300 such
    pages, a tenth of its time, and more than half of it on a virtual machine whose host had to find
    the pages first. Nothing is changed where a variable of the environment tunes glibc, or
    where the C library is another one.
    """
    if sys.platform != "linux" or any(name in os.environ for name in VARIABLES):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # first: one threshold alone would end that glibc raises the other as it sees fit
    if not any(mallopt(M_MMAP_THRESHOLD, largest) for largest in LARGEST):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT))
