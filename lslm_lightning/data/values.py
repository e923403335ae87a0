"""Values of a record -> text: the same by every road, or refused with the file and the line."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lslm_lightning.text.surrogates import lone_surrogate


class Record(dict[Any, Any]):
    """Values of one row by column, and `id`: where the row stands, or what a column `id` says.

    `where` is the file and the number of the line, or of the row; `place` is the same for messages,
    where that says more.
    """

    __slots__ = ("place", "where")

    def __init__(self, where: str, columns: Mapping[Any, Any], place: str = "") -> None:
        super().__init__(columns if "id" in columns else {"id": where, **columns})
        self.where = where
        self.place = place or where


class Number(str):
    """A number in JSON, as it is written there: 3.0 and 1e5 keep their digits, as they do in
    CSV.
    """

    __slots__ = ()


def place_of(record: Mapping[Any, Any]) -> str:
    """Return the file and line of a record, for messages; its id where it has no such thing."""
    return record.place if isinstance(record, Record) else str(record["id"])


def as_text(value: Any, where: str, name: str) -> str:
    """Return a text as it is, a number as it is written, and "" for null.

    Args:
        where: the file and the line, for messages.
        name: what the value is, for messages.

    Raises:
        ValueError: the value is of another type, no finite number, or a text with a NUL or half a
            surrogate pair.
    """
    if isinstance(value, str):
        if not value.isascii() and (at := lone_surrogate(value)) is not None:
            raise ValueError(
                f"{where}: {name} has half a surrogate pair, \\u{ord(value[at]):04x}, at "
                f"character {at + 1}: no text can hold it;"
                f" write the whole character, or leave the half out"
            )
        if "\0" in value:
            at = value.index("\0")
            raise ValueError(
                f"{where}: {name} has a NUL, U+0000, at character {at + 1}; leave it out"
            )
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        word = str(value).lower()
        raise ValueError(
            f"{where}: {name} must be text, not {word}; if the word is meant, put it in quotes: "
            f'"{word}"'
        )
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            called = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
            raise ValueError(
                f"{where}: {name} must be text, not {called}; if nothing is meant, write null"
            )
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    raise ValueError(
        f"{where}: {name} must be text, not {type(value).__name__}; name an inner column as in "
        "outer.inner"
    )
