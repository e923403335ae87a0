"""Limits on the memory that reading one file may take: in proportion to its size, unless the user
sets another limit.
"""

import os

SETTING = "LSLM_MAX_UNPACKED_BYTES"
RATIO = 200  # unpacked bytes per byte of a file; text and sound are packed to a tenth at best
ALWAYS = 64 << 20  # bytes that any file may unpack to
IN_MEMORY = 4 << 30  # bytes of one file that is held in memory as a whole
LINE = 1 << 30  # bytes of one line of a file that is read as a stream


def is_chosen() -> bool:
    """Return whether the user set the number of bytes that a file may unpack to."""
    return bool(os.environ.get(SETTING))


def max_unpacked(n_byte: int) -> int:
    """Return the number of bytes that a file of `n_byte` may unpack to: `$LSLM_MAX_UNPACKED_BYTES`,
    or 200 times its size.

    Raises:
        ValueError: the setting is not a number of bytes.
    """
    if chosen := os.environ.get(SETTING):
        if not chosen.isascii() or not chosen.isdigit() or len(chosen) > 18:
            raise ValueError(f"{SETTING}={chosen!r} must be a number of bytes, such as 8000000000")
        return int(chosen)
    return max(ALWAYS, RATIO * n_byte)


def max_in_memory(n_byte: int) -> int:
    """Return the number of bytes that a file of `n_byte` may unpack to if all are held in memory at
    once.
    """
    limit = max_unpacked(n_byte)
    return limit if is_chosen() else min(limit, IN_MEMORY)


def max_line() -> int:
    """Return the number of bytes that one line, or one JSON value, may have where a file is read in
    a stream.
    """
    return max(LINE, max_unpacked(0))


def too_large(
    name: str, limit: int, n_byte: int | None = None, verb: str = "unpacks to"
) -> ValueError:
    """Return the error for a file, or a part of one, of more than `limit` bytes.

    Args:
        n_byte: size of the packed file, if there is one.
        verb: what the file does beyond the limit.
    """
    size = f" from {n_byte:,}" if n_byte is not None else ""
    words = f"{name}: {verb} more than {limit:,} bytes{size}"
    return ValueError(
        f"{words}; if you trust it, set {SETTING} to a number of bytes that is enough"
    )
