"""Names that configs and runs of earlier releases use, and the names that took their place.

Every config, every config.yaml of a run and every command line passes through here, so that the
rest of the code knows the new names only. Each old name found is told once, as a `FutureWarning`.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from lslm_lightning.types import Json

DROPPED_IN = "0.3"  # the release that no longer reads the old names

CLASS_PATHS: dict[str, str] = {}

# By the setting or the class that a key belongs to: `data` stands for `data.exam_tokens`, for
# `data: {init_args: {exam_tokens: ...}}` and for both inside `base` or a variant.
KEYS: dict[tuple[str, str], str] = {}

# By the new name of the setting.
VALUES: dict[tuple[str, str], dict[str, str]] = {}


class Renaming(NamedTuple):
    """One old name that was found, as a user writes it, and its successor."""

    old: str
    new: str


def renamed(document: Json, owner: str = "") -> Json:
    """Return a parsed YAML document with new names for old ones; warn of each old name once.

    Args:
        document: any YAML value; it is not changed.
        owner: the setting that holds it, `data` or `model` say; "" for a whole config.
    """
    if isinstance(document, Mapping):
        return _renamed_mapping(document, owner)
    if isinstance(document, list):
        return [renamed(item, owner) for item in document]
    return _renamed_class(document) if isinstance(document, str) else document


def _renamed_mapping(document: Mapping[Json, Json], owner: str) -> dict[Json, Json]:
    """Return a mapping with new keys, and its values with new names inside."""
    class_path = document.get("class_path")
    kind = _renamed_class(class_path) if isinstance(class_path, str) else ""
    owners = tuple(dict.fromkeys((owner, kind))) if kind else (owner,)
    new: dict[Json, Json] = {}
    for key, value in document.items():
        if not isinstance(key, str):
            new[key] = renamed(value)
        elif key == "init_args" and isinstance(value, Mapping):
            new[key] = _renamed_arguments_of(value, owners)
        elif key == "class_path":
            new[key] = kind or value
        else:
            new_key, setting = renamed_key(key, owner)
            _add(new, new_key, renamed_value(value, setting), key)
    return new


def _renamed_arguments_of(given: Mapping[Json, Json], owners: Sequence[str]) -> dict[Json, Json]:
    """Return `init_args` that belong to a setting and to a class."""
    new: dict[Json, Json] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            new[key] = renamed(value)
            continue
        new_key, setting = key, (owners[0], key)
        for owner in owners:
            candidate, found = renamed_key(key, owner)
            if candidate != key or found in VALUES:
                new_key, setting = candidate, found
                break
        _add(new, new_key, renamed_value(value, setting), key)
    return new


def _add(new: dict[Json, Json], key: str, value: Json, as_given: str) -> None:
    """Add an entry.

    Raises:
        ValueError: it is given by its old name and by its new one.
    """
    if key in new:
        raise ValueError(f"{key} is given twice, once by its old name ({as_given}); leave one out")
    new[key] = value


def renamed_key(dotted: str, owner: str) -> tuple[str, tuple[str, str]]:
    """Return a key, perhaps with dots, by its new names, and (owner, name) of its last part."""
    parts = dotted.split(".")
    setting = (owner, parts[-1])
    for i, part in enumerate(parts):
        if part in ("init_args", "class_path"):
            continue
        name = part.removesuffix("+")
        if (owner, name) in KEYS:
            parts[i] = KEYS[owner, name] + part[len(name) :]
            prefix = f"{owner}." if owner else ""
            _tell(Renaming(f"{prefix}{name}", f"{prefix}{KEYS[owner, name]}"))
        setting = (owner, parts[i].removesuffix("+"))
        owner = setting[1]
    return ".".join(parts), setting


def renamed_value(value: Json, setting: tuple[str, str]) -> Json:
    """Return the value of a setting with new names inside."""
    words = VALUES.get(setting, {})
    if isinstance(value, str) and value in words:
        name = ".".join(filter(None, setting))
        _tell(Renaming(f"{name}: {value}", f"{name}: {words[value]}"))
        return words[value]
    return renamed(value, setting[1])


def _renamed_class(name: str) -> str:
    """Return the import path that took the place of another, or the same."""
    new = CLASS_PATHS.get(name, name)
    if new != name:
        _tell(Renaming(name, new))
    return new


@cache
def _tell(renaming: Renaming) -> None:
    """Warn of an old name, once in a process, and by one process of several."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    warnings.warn(
        f"`{renaming.old}` is called `{renaming.new}` now; the old name is read until release "
        f"{DROPPED_IN}",
        FutureWarning,
        stacklevel=3,
    )
