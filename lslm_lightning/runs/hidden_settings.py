"""Settings that a run's config.yaml hides, with values stored in the run's secrets.json.

A stored value is used only for a setting that config.yaml hides, and only if it agrees with the
visible part of the setting. Therefore secrets.json can neither change other settings nor name a
class.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from lslm_lightning.safety.redaction import MASK, learn_settings
from lslm_lightning.types import Json, JsonObject, Settings

HIDDEN_PARTS = (f"//{MASK}@", f"={MASK}")  # in texts that are masked in part


Keys = tuple[str | int, ...]  # keys of a setting from the top; indices in lists


def hidden_values(config: Json, shown: Json, name: str = "") -> JsonObject:
    """Return the values that are masked in the redacted copy of a configuration, by dotted name.

    Args:
        config: the configuration.
        shown: its redacted copy.
        name: dotted name of `config` within the whole configuration.
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
    """Yield the keys of every setting that is masked, at least in part, and the mapping or list
    that contains it.

    Args:
        above: keys of `config` within the whole configuration.
    """
    for key, value in items(config):
        if isinstance(value, dict | list):
            yield from masked(value, (*above, key))
        elif isinstance(value, str) and MASK in value:
            yield (*above, key), config


def reveal(config: Json, path: Path) -> list[Keys]:
    """Replace masked values in `config`, in place, and return the keys of settings that stay
    masked.

    Args:
        path: file secrets.json of the run, which contains the values.
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
    """Yield the (key, value) pairs of a mapping or the (index, value) pairs of a list.

    Other values have none.
    """
    if isinstance(config, Mapping):
        yield from config.items()
    elif isinstance(config, list):
        yield from enumerate(config)
