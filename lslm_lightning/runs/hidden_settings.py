"""Settings that a run's config.yaml hides, and their values in the run's secrets.json.

A value is taken only for a setting that config.yaml hides, and only where it has what config.yaml
shows of it: secrets.json can change no other setting, and names no class.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lslm_lightning.safety.redaction import MASK, learn_settings

MARKS = (f"//{MASK}@", f"={MASK}")  # of texts of which a part is hidden


def hidden_values(config: Any, shown: Any, name: str = "") -> dict[str, Any]:
    """Return the values that `shown`, the same settings without secrets, lacks, by their dotted names."""
    found = {}
    for key, value in items(config):
        inner = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            found |= hidden_values(value, shown[key], inner)
        elif value != shown[key] or (isinstance(value, str) and MASK in value):  # asterisks of the user's own
            found[inner] = value
    return found


def masked(config: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted names of settings of which a value, or a part of it, may be hidden."""
    for key, value in items(config):
        inner = f"{name}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from masked(value, inner)
        elif isinstance(value, str) and MASK in value:
            yield inner


def reveal(config: Any, path: Path) -> list[str]:
    """Put the values of a secrets.json into settings; return the names of those that are still hidden."""
    names = list(masked(config))
    known = read_secrets(path) if names else {}
    left = []
    for name in names:
        *above, last = name.split(".")
        inner = config
        for key in above:
            inner = inner[key if isinstance(inner, dict) else int(key)]
        key = last if isinstance(inner, dict) else int(last)
        value = known.get(name)
        if key != "class_path" and fits(value, inner[key]):
            inner[key] = value
        elif inner[key] == MASK or any(mark in inner[key] for mark in MARKS):
            left.append(name)
    learn_settings(config)
    return left


def fits(value: Any, shown: str) -> bool:
    """Whether a value is what is left of `shown` where its masks are filled in."""
    if isinstance(value, str):
        return re.fullmatch(".+".join(map(re.escape, shown.split(MASK))), value, re.DOTALL) is not None
    return isinstance(value, int | float) and shown == MASK


def read_secrets(path: Path) -> Mapping[str, Any]:
    """Return the values that a run hides, by their dotted names; none where there is no such file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def items(config: Any) -> Iterator[tuple[Any, Any]]:
    """Yield keys, or indices, and values; keys with dots are left as they are."""
    if isinstance(config, Mapping):
        yield from ((key, value) for key, value in config.items() if "." not in str(key))
    elif isinstance(config, list):
        yield from enumerate(config)
