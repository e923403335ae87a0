"""JSON parsers that reject duplicate keys and keep the digits of every number, for whole texts and
for files that are read value by value.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from lslm_lightning.corpora.values import Number
from lslm_lightning.safety.limits import too_large
from lslm_lightning.text.json_texts import object_of
from lslm_lightning.types import Json

_WHITE = re.compile(r"[ \t\n\r]*")


DECODER = json.JSONDecoder(object_pairs_hook=object_of, parse_float=Number, parse_int=Number)


def parse(where: str, text: str) -> Json:
    """Return the value of a JSON text.

    NaN and infinities, which are not JSON, are accepted as floats.

    Args:
        where: file and line, for messages.

    Raises:
        ValueError: the text is not JSON, or an object has a duplicate key.
    """
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the reason why a text could not be parsed, with the column number if it is known."""
    if isinstance(error, json.JSONDecodeError):
        column = error.pos - error.doc.rfind("\n", 0, error.pos)
        return (
            f"not JSON ({error.msg} at column {column}: {error.doc[error.pos : error.pos + 20]!r})"
        )
    return "not JSON (nested too deeply)" if isinstance(error, RecursionError) else str(error)


class JsonText:
    """Incremental reader of consecutive JSON values in a text that arrives in chunks.

    Only the text of the value being read is kept in memory.

    Args:
        name: name of the file, for messages.
        chunks: the text, in order.
        limit: maximum number of characters of one value; None if the whole text is in memory
            anyway.
    """

    def __init__(self, name: str, chunks: Iterator[str], limit: int | None = None) -> None:
        # the line that has been reached
        self.name = name
        self.line = 1
        self._chunks = chunks
        self.limit = limit
        # what is kept, and how far it is read
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is not white space without consuming it; "" at the end."""
        while True:
            white = _WHITE.match(self._text, self._at)
            assert white is not None  # it matches ""
            self._read_to(white.end())
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, character: str) -> bool:
        """Consume `character` if it comes next (after white space), and return whether it did."""
        is_next = self.peek() == character
        self._read_to(self._at + is_next)
        return is_next

    def value(self) -> Json:
        """Read and return the next value.

        Raises:
            ValueError: the text is not JSON, or an object has a duplicate key; the message states
                file and line.
        """
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if _may_be_cut(error, len(self._text)) and self._more():
                    continue
                at = error.pos if isinstance(error, json.JSONDecodeError) else self._at
                self.refuse(_reason(error), at)
            if end < len(self._text) or not isinstance(value, Number | float) or not self._more():
                self._read_to(end)
                return value

    def refuse(self, reason: str, at: int | None = None) -> NoReturn:
        """Raise ValueError with the file, a line number and `reason`.

        Args:
            at: index of a character in the buffered text, whose line is stated; by default the
                current position.
        """
        line = self.line + self._text.count("\n", self._at, at or self._at)
        raise ValueError(f"{self.name}: line {line}: {reason}")

    def _read_to(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Extend the buffer, and return whether any text was left.

        The buffer at least doubles, so that a long value is parsed only a few times.
        """
        kept = self._text[self._at :]
        if self.limit is not None and len(kept) > self.limit:
            raise too_large(f"{self.name}: line {self.line}", self.limit, verb="has a value of")
        parts = []
        n = 0
        for chunk in self._chunks:
            parts.append(chunk)
            n += len(chunk)
            if n >= len(kept):
                break
        if parts:
            self._text = kept + "".join(parts)
            self._at = 0
        return bool(parts)


def _may_be_cut(error: Exception, n: int) -> bool:
    """Return whether a parser error may only mean that a text of `n` characters is incomplete."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= n - len('"\\ud83d\\ude00"')
