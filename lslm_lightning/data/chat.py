"""Conversations as text: a list of turns, each an object with `role` and `content`, or with `from`
and `value`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

KEYS = (("role", "content"), ("from", "value"))
"""Who speaks and what is said, as OpenAI's and ShareGPT's files have it."""


def is_chat(value: Any) -> bool:
    """Whether this is a list of turns."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(map(_keys, value))
    )


def is_content(value: Any) -> bool:
    """Whether this is what a turn says as a list of parts, all of them text."""
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


def text_of_parts(parts: Sequence[Mapping[str, Any]]) -> str:
    """The parts of what a turn says as one text."""
    return "".join(part["text"] for part in parts)


def content_key(turns: Sequence[Mapping[str, Any]]) -> str:
    """Name of what is said in these turns."""
    return (_keys(turns[0]) or KEYS[0])[1]


def render(turns: Sequence[Mapping[str, Any]], where: str) -> str:
    """The turns as text, each as "role: content", a blank line between two.

    Raises:
        ValueError: a turn has something else than text.
    """
    lines = []
    for number, turn in enumerate(turns, 1):
        role, content = (turn[key] for key in _keys(turn) or KEYS[0])
        lines.append(f"{role}: {_text(content, f'{where}: turn {number} of {len(turns)}')}")
    return "\n\n".join(lines)


def _keys(turn: Any) -> tuple[str, str] | None:
    return next(
        (keys for keys in KEYS if isinstance(turn, Mapping) and set(keys) <= set(turn)), None
    )


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if is_content(content):
        return text_of_parts(content)
    kind = "nothing" if content is None else type(content).__name__
    raise ValueError(
        f"{where} has {kind} where its text should be; leave the row out, or make a column of "
        "texts and name it in columns"
    )
