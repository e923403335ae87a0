"""The user's own classes, which lie in the working directory and are named by their import paths.

Nothing else of that directory may be imported: a file there may be called as a module that Python
or a library looks for, `json.py` or `jieba.py`.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lslm_lightning.runs.trust import is_restricted
from lslm_lightning.task_package import AliasLoader

IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def add_working_directory(value: Any) -> None:
    """Put the working directory last in `sys.path` where an import path in `value` needs it.

    It does nothing while a run from elsewhere is read.

    Args:
        value: a configuration, or words of the command line.
    """
    here = str(Path.cwd())
    if here in sys.path or is_restricted():
        return
    if any(is_only_here(package) for package in packages_in(value)):
        sys.path.append(here)


def packages_in(value: Any) -> set[str]:
    """Names of the packages and modules that begin the import paths of a configuration."""
    return {path.partition(".")[0] for path in paths_in(value)}


def paths_in(value: Any) -> Iterator[str]:
    """Yield texts of a configuration that are import paths, and those within texts of braces."""
    if isinstance(value, str):
        if IMPORT_PATH.fullmatch(value):
            if not Path(value).exists():  # `mine.yaml` is a file
                yield value
        elif value.lstrip()[:1] in ("{", "[") or "class_path" in value:
            yield from IMPORT_PATH.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from paths_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from paths_in(inner)


def is_only_here(package: str) -> bool:
    """Return whether the working directory has a package that Python does not find elsewhere."""
    folder = Path(package)
    return (folder.is_dir() or folder.with_suffix(".py").is_file()) and not is_installed(package)


def is_installed(package: str) -> bool:
    """Return whether Python finds a package, without importing it."""
    try:
        if package in sys.modules:
            return True
        spec = find_spec(package)
        return spec is not None and not isinstance(spec.loader, AliasLoader)
    except (ImportError, ValueError):
        return False
