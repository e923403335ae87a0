"""Settings that a run's config.yaml hides, and their values in the run's secrets.json.

A value is used only for a setting that config.yaml hides, and only if it agrees with the part that
config.yaml shows: secrets.json can change no other setting and name no class.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from lslm_lightning.safety.redaction import MASK, learn_settings
from lslm_lightning.types import Json, JsonObject, Settings

HIDDEN_PARTS = (f"//{MASK}@", f"={MASK}")  # in texts that are masked in part


Keys = tuple[str | int, ...]  # keys of a setting from the top; indices in lists


def hidden_values(config: Json, shown: Json, name: str = "") -> JsonObject:
    """Return the values that are masked in `shown`, the redacted copy of `config`, by dotted
    name.
    """
    found: JsonObject = {}
    for key, value in items(config):
        inner = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            found |= hidden_values(value, shown[key], inner)
        elif value != shown[key] or (isinstance(value, str) and MASK in value):
            # a text of the user that looks masked is stored too
            found[inner] = value
    return found


def masked(config: Json, above: Keys = ()) -> Iterator[tuple[Keys, Json]]:
    """Yield the keys of every setting whose value is (partly) masked, with the mapping or list that
    holds it.
    """
    for key, value in items(config):
        if isinstance(value, dict | list):
            yield from masked(value, (*above, key))
        elif isinstance(value, str) and MASK in value:
            yield (*above, key), config


def reveal(config: Json, path: Path) -> list[Keys]:
    """Replace masked values in `config`, in place, by those of a secrets.json; return the keys of
    the settings that stay masked.
    """
    hidden = list(masked(config))
    known = read_secrets(path) if hidden else {}
    left = []
    for keys, holder in hidden:
        key = keys[-1]
        value = known.get(".".join(map(str, keys)))
        if key != "class_path" and fits(value, holder[key]):
            holder[key] = value
        elif holder[key] == MASK or any(part in holder[key] for part in HIDDEN_PARTS):
            left.append(keys)
    learn_settings(config)
    return left


def fits(value: object, shown: str) -> bool:
    """Return whether `value` equals `shown` with every mask replaced by some non-empty text."""
    if isinstance(value, str):
        first, *pieces, last = shown.split(MASK)
        end = len(first)
        # each at the earliest position, at least one character after the previous one
        for piece in pieces:
            found = value.find(piece, end + 1)
            if found < 0:
                return False
            end = found + len(piece)
        return value.startswith(first) and value.endswith(last) and end < len(value) - len(last)
    return isinstance(value, int | float) and shown == MASK


def read_secrets(path: Path) -> Settings:
    """Return the hidden values of a run by dotted name; empty if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def items(config: Json) -> Iterator[tuple[str | int, Json]]:
    """Yield (key, value) pairs of a mapping or (index, value) pairs of a list; nothing for other
    values.
    """
    if isinstance(config, Mapping):
        yield from config.items()
    elif isinstance(config, list):
        yield from enumerate(config)
