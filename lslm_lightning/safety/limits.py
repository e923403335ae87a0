"""Limits on the memory for reading one file. They are proportional to the size of the file, unless
the user sets `$LSLM_MAX_UNPACKED_BYTES`.
"""

import os

SETTING = "LSLM_MAX_UNPACKED_BYTES"
RATIO = 200  # unpacked bytes per byte of a file; text and sound are packed to a tenth at best
ALWAYS = 64 << 20  # bytes that any file may unpack to
IN_MEMORY = 4 << 30  # bytes of one file that is held in memory as a whole
LINE = 1 << 30  # bytes of one line of a file that is read as a stream


def is_chosen() -> bool:
    """Return whether the user set `$LSLM_MAX_UNPACKED_BYTES`."""
    return bool(os.environ.get(SETTING))


def max_unpacked(n_byte: int) -> int:
    """Return the number of bytes that a file of `n_byte` bytes may unpack to:
    `$LSLM_MAX_UNPACKED_BYTES` if set, otherwise 200 * `n_byte`, but at least 64 MiB.

    Raises:
        ValueError: `$LSLM_MAX_UNPACKED_BYTES` is not a number of bytes.
    """
    if chosen := os.environ.get(SETTING):
        if not chosen.isascii() or not chosen.isdigit() or len(chosen) > 18:
            raise ValueError(f"{SETTING}={chosen!r} must be a number of bytes, such as 8000000000")
        return int(chosen)
    return max(ALWAYS, RATIO * n_byte)


def max_in_memory(n_byte: int) -> int:
    """Return the number of bytes that a file of `n_byte` bytes may unpack to if all of them are in
    memory at once.
    """
    limit = max_unpacked(n_byte)
    return limit if is_chosen() else min(limit, IN_MEMORY)


def max_line() -> int:
    """Return the largest number of bytes of one line or one JSON value of a file that is read as a
    stream.
    """
    return max(LINE, max_unpacked(0))


def too_large(
    name: str, limit: int, n_byte: int | None = None, verb: str = "unpacks to"
) -> ValueError:
    """Return the error for a file that exceeds `limit` bytes.

    Args:
        name: file or part of a file, as the message calls it.
        n_byte: size of the packed file; None if the file is not packed.
        verb: verb of the message: `name` "unpacks to" more than `limit` bytes.
    """
    size = f" from {n_byte:,}" if n_byte is not None else ""
    words = f"{name}: {verb} more than {limit:,} bytes{size}"
    return ValueError(
        f"{words}; if you trust it, set {SETTING} to a number of bytes that is enough"
    )
