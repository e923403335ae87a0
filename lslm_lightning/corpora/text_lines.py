"""Readers of UTF-8 text files, line by line or in chunks."""

import codecs
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from lslm_lightning.corpora.archives import refuse_pointer
from lslm_lightning.corpora.encodings import not_utf8
from lslm_lightning.safety.limits import max_line, too_large

CHUNK = 1 << 20  # bytes that are read at once
Source: TypeAlias = bytes | BinaryIO
"""Content of a file, or the file open for reading it."""


class EmptyFileError(ValueError):
    """A file contains no text, or white space only."""


def decode(name: str, source: Source) -> str:
    """Return the text of a UTF-8 file without the byte order mark; line ends are kept as they are.

    Raises:
        ValueError: a byte is not UTF-8 (the message states its position), or the file is empty.
    """
    text = "".join(text_lines(name, source))
    check_filled(name, text)
    return text


def lines_of(name: str, source: Source) -> list[str]:
    """Return all lines without their line ends; only LF and CRLF end a line, as for `wc -l`."""
    return [line for _, line in require_text(name, numbered_lines(name, source))]


def read_entries(path: Path) -> list[str]:
    """Return the entries of a list in a UTF-8 file, such as names of people: one a line; blank
    lines are skipped.

    Raises:
        ValueError: the file is empty or not UTF-8.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return [line.strip() for line in lines_of(str(path), file) if line.strip()]


def numbered_lines(name: str, source: Source) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line as it is read, counted from 1, without the line end.

    An empty file yields nothing.
    """
    for number, line in enumerate(text_lines(name, source), 1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def text_lines(name: str, source: Source) -> Iterator[str]:
    """Yield each line as it is read, with its line end; a byte order mark is removed.

    Raises:
        ValueError: a line contains NUL or bytes that are not UTF-8; the message states the position
            and a likely encoding.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    limit = len(source) if isinstance(source, bytes) else max_line()
    offset = 0
    known = ""
    for number, raw in enumerate(iter(partial(file.readline, limit + 1), b""), 1):
        if len(raw) > limit:
            raise too_large(f"{name}: line {number}", limit, verb="has")
        if number == 1:
            refuse_pointer(name, raw)
            offset = len(codecs.BOM_UTF8) * raw.startswith(codecs.BOM_UTF8)
            raw = raw[offset:]
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                not_utf8(
                    f"{name}: line {number}", raw + file.read(CHUNK), error.start, offset, known
                )
            ) from None
        if "\0" in line or "\x1b$" in line:
            at = raw.find(b"\0") if "\0" in line else raw.find(b"\x1b$")
            raise ValueError(
                not_utf8(f"{name}: line {number}", raw + file.read(CHUNK), at, offset, known)
            )
        if not line.isascii():
            known = line
        offset += len(raw)
        yield line


def text_chunks(name: str, source: Source) -> Iterator[str]:
    """Yield the text in chunks of about `CHUNK` bytes, for files that may consist of one long line.

    Raises:
        ValueError: the file contains NUL or bytes that are not UTF-8.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = 1
    offset = 0
    known = ""
    while True:
        raw = file.read(CHUNK)
        if not offset:
            refuse_pointer(name, raw)
            offset = len(codecs.BOM_UTF8) * raw.startswith(codecs.BOM_UTF8)
            raw = raw[offset:]
        waiting = decoder.getstate()[0]
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            content = waiting + raw
            at = error.start
            line = number + content.count(b"\n", 0, error.start)
            raise ValueError(
                not_utf8(f"{name}: line {line}", content, at, offset - len(waiting), known)
            ) from None
        if "\0" in text:
            content = waiting + raw
            at = content.find(b"\0")
            line = number + content.count(b"\n", 0, at)
            raise ValueError(
                not_utf8(f"{name}: line {line}", content, at, offset - len(waiting), known)
            )
        known = known if text.isascii() else text
        number += text.count("\n")
        offset += len(raw)
        if text:
            yield text
        if not raw:
            return


def require_text(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield numbered lines unchanged.

    Raises:
        EmptyFileError: after the last line, if all lines are blank.
    """
    has_text = False
    for number, line in lines:
        has_text = has_text or bool(line and not line.isspace())
        yield number, line
    check_filled(name, "text" if has_text else "")


def check_filled(name: str, text: str) -> None:
    """Raise EmptyFileError, which names the file, if a text is empty or white space only."""
    if not text or text.isspace():
        raise EmptyFileError(f"{name}: is empty; it needs at least one line of text")
