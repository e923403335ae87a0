"""Standard output and standard error that never end a command by an error.

A training continues if a terminal in Latin-1 cannot show "↓", if the reader of a pipe is gone
(`lslm run ... | head -1`), if the disk under a log is full, or if the terminal is closed.
"""

import io
import os
import select
import sys

TYPE_CHECKING = False  # type checkers take it for that of `typing`, whose import is slow
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# commands that only print: they end when nobody reads their output
STREAMED = ("generate", "log-prob")


def protect_output(command: str) -> None:
    """Replace standard output and error by streams that raise no errors, unless the command is in
    `STREAMED`.

    Characters that the encoding lacks are written as `\\u2193`. Streams that a notebook or a test
    runner has put in place of Python's own are left unchanged.
    """
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        if command in STREAMED:
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout = lasting(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = lasting(sys.stderr)


def open_closed_streams() -> None:
    """Open the standard streams that were closed when the process started (`>&-`), on the null
    device.

    Otherwise the next file opened would get the file number of a standard stream, and output would
    be printed into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", errors="backslashreplace"))


class LastingFile(io.FileIO):
    """File whose writes never fail: data that cannot be written is dropped."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write the data; return the number of bytes written or dropped."""
        try:
            while (n_written := super().write(data)) is None:  # full, and does not block
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return n_written


def lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream to the same file whose writes never fail."""
    if os.name == "nt":  # where a console is no file
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    buffer = io.BufferedWriter(LastingFile(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(
        buffer,
        stream.encoding,
        "backslashreplace",
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
