"""Records of files, and conversion of their values to text, equal for every file format."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from lslm_lightning.text.surrogates import lone_surrogate
from lslm_lightning.types import Json

Values: TypeAlias = Mapping[Any, Json]
"""Values of one row by column: a name, or a position in a table without a header."""


class Record(dict[str | int, Json]):
    """Values of one row by column, with a key `id`: the value of a column `id` if there is one,
    else `where`.

    Args:
        where: name of the file with the number of the line or row.
        columns: values by column.
        shown_as: location to state in messages, if it should differ from `where`.
    """

    __slots__ = ("shown_as", "where")

    def __init__(self, where: str, columns: Values, shown_as: str = "") -> None:
        super().__init__(columns if "id" in columns else {"id": where, **columns})
        self.where = where
        self.shown_as = shown_as or where


class Number(str):
    """Number in a JSON file, kept as the text in which it is written, such as 3.0 or 1e5."""

    __slots__ = ()


def location_of(record: Values) -> str:
    """Return the file and line of a record, for messages; its id if it was not read from a file."""
    return record.shown_as if isinstance(record, Record) else str(record["id"])


def as_text(value: Json, where: str, name: str) -> str:
    """Return a value as text: a string unchanged, a number in its digits, and "" for null.

    Args:
        where: file and line, for messages.
        name: name of the value, for messages.

    Raises:
        ValueError: the value has another type, is not finite, or is a string that contains NUL or a
            lone surrogate.
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
