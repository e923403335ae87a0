"""Settings that a run's config.yaml hides, and their values in the run's secrets.json.

A value is taken only for a setting that config.yaml hides, and only where it has what config.yaml
shows of it: secrets.json can change no other setting, and names no class.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lslm_lightning.safety.redaction import MASK, learn_settings

MARKS = (f"//{MASK}@", f"={MASK}")  # of texts of which a part is hidden


Keys = tuple[Any, ...]  # of a setting, from the top; of a list, indices


def hidden_values(config: Any, shown: Any, name: str = "") -> dict[str, Any]:
    """Return the values that `shown`, the same settings without secrets, lacks, by their dotted
    names.
    """
    found = {}
    for key, value in items(config):
        inner = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            found |= hidden_values(value, shown[key], inner)
        elif value != shown[key] or (isinstance(value, str) and MASK in value):
            # asterisks of the user's own
            found[inner] = value
    return found


def masked(config: Any, above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield settings of which a value, or a part of it, may be hidden, and the mapping or list that
    each is in.
    """
    for key, value in items(config):
        if isinstance(value, dict | list):
            yield from masked(value, (*above, key))
        elif isinstance(value, str) and MASK in value:
            yield (*above, key), config


def reveal(config: Any, path: Path) -> list[Keys]:
    """Put the values of a secrets.json into settings; return those that are still hidden."""
    places = list(masked(config))
    known = read_secrets(path) if places else {}
    left = []
    for keys, place in places:
        key = keys[-1]
        value = known.get(".".join(map(str, keys)))
        if key != "class_path" and fits(value, place[key]):
            place[key] = value
        elif place[key] == MASK or any(mark in place[key] for mark in MARKS):
            left.append(keys)
    learn_settings(config)
    return left


def fits(value: Any, shown: str) -> bool:
    """Whether a value is what is left of `shown` where its masks are filled in."""
    if isinstance(value, str):
        first, *pieces, last = shown.split(MASK)
        end = len(first)
        # each as early as it can be, at least a character behind the one before
        for piece in pieces:
            found = value.find(piece, end + 1)
            if found < 0:
                return False
            end = found + len(piece)
        return value.startswith(first) and value.endswith(last) and end < len(value) - len(last)
    return isinstance(value, int | float) and shown == MASK


def read_secrets(path: Path) -> Mapping[str, Any]:
    """Return the values that a run hides, by their dotted names; none where there is no such
    file.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def items(config: Any) -> Iterator[tuple[Any, Any]]:
    """Yield keys, or indices, and values."""
    if isinstance(config, Mapping):
        yield from config.items()
    elif isinstance(config, list):
        yield from enumerate(config)
