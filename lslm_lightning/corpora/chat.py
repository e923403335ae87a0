"""Conversion of chat conversations to text.

A conversation is a list of turns, each an object with `role` and `content`, or with `from` and
`value`.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeGuard

from lslm_lightning.types import Json, Settings

Turns: TypeAlias = Sequence[Settings]
"""Turns of a conversation, each an object."""

KEYS = (("role", "content"), ("from", "value"))
"""Keys of the speaker and of what is said, in OpenAI's files and in ShareGPT's."""


def is_chat(value: Json) -> TypeGuard[Turns]:
    """Return whether a value is a non-empty list of chat turns."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(map(_keys, value))
    )


def is_content(value: Json) -> TypeGuard[Sequence[Settings]]:
    """Return whether a value is a non-empty list of text parts, one form of a turn's content."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(part, Mapping)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
            for part in value
        )
    )


def text_of_parts(parts: Sequence[Settings]) -> str:
    """Return the concatenated texts of the parts of a turn's content."""
    return "".join(part["text"] for part in parts)


def content_key(turns: Turns) -> str:
    """Return the key that holds the content in these turns: "content" or "value"."""
    return (_keys(turns[0]) or KEYS[0])[1]


def render(turns: Turns, where: str) -> str:
    """Return the turns as text, each as "role: content", separated by blank lines.

    Args:
        where: file and line, for messages.

    Raises:
        ValueError: the content of a turn is not text.
    """
    lines = []
    for number, turn in enumerate(turns, 1):
        role, content = (turn[key] for key in _keys(turn) or KEYS[0])
        lines.append(f"{role}: {_text(content, f'{where}: turn {number} of {len(turns)}')}")
    return "\n\n".join(lines)


def _keys(turn: Json) -> tuple[str, str] | None:
    """Return the keys of role and content in a turn; None if the value is not a turn."""
    return next(
        (keys for keys in KEYS if isinstance(turn, Mapping) and set(keys) <= set(turn)), None
    )


def _text(content: Json, where: str) -> str:
    """Return the content of a turn as text; raise ValueError, which states `where`, if it is not
    text.
    """
    if isinstance(content, str):
        return content
    if is_content(content):
        return text_of_parts(content)
    kind = "nothing" if content is None else type(content).__name__
    raise ValueError(
        f"{where} has {kind} where its text should be; leave the row out, or make a column of "
        "texts and name it in columns"
    )
