"""Which classes a run's configuration may name: a run directory from elsewhere must not run code from elsewhere."""

import importlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import yaml

TRUSTED = ("lslm_lightning", "tasks", "torch.optim", "torch.nn")
HOMES = {"lslm_lightning", "tasks", "torch"}  # where what they offer may be defined


def check_trust(config: Any) -> None:
    """Let pass a configuration whose every import path is in `TRUSTED`, and leads to something that was defined there.

    Raises:
        ValueError: it names something else, which has not been imported.
    """
    paths = list(dict.fromkeys(import_paths(config)))
    for path in paths:
        if not any(path.startswith(f"{package}.") for package in TRUSTED):
            refuse(path)
    for path in paths:
        home = getattr(resolve(path), "__module__", None) or path
        if home.partition(".")[0] not in HOMES:
            refuse(path)


def refuse(path: str) -> None:
    """Raise ValueError for an import path that is not trusted, with the way out."""
    raise ValueError(f"the run wants to use {path}, which is not of {', '.join(TRUSTED)}; if you know its code and trust it, add --trust")


def resolve(path: str) -> Any:
    """The class or function of an import path `package.module.name`; nothing is reached through another module's imports.

    Raises:
        ValueError: there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported: {error}") from None
    if not callable(found):
        raise ValueError(f"{path} is neither a class nor a function")
    return found


def import_paths(value: Any) -> Iterator[str]:
    """Every `class_path`, and every text that could be taken for an import path or holds one as YAML."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "class_path":
                yield str(inner)
            else:
                yield from import_paths(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from import_paths(inner)
    elif isinstance(value, str):
        if is_import_path(value):
            yield value
            return
        try:
            inner = yaml.safe_load(value)
        except yaml.YAMLError:
            return
        if isinstance(inner, Mapping | list):
            yield from import_paths(inner)


def is_import_path(text: str) -> bool:
    """Dotted names of which the first is a package of this Python: not `tokenizer.json`."""
    names = text.split(".")
    return len(names) > 1 and all(name.isidentifier() for name in names) and find_spec(names[0]) is not None
