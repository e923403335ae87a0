"""Import of the user's own classes from the working directory.

Other files of this directory must not become importable: a file such as `json.py` or `jieba.py` may
have the name of a module that Python or a library imports.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from lslm_lightning.runs.trust import is_restricted
from lslm_lightning.task_package import AliasLoader

JINJA = ("{{", "{%", "{#")  # with which templates of text begin
IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def add_working_directory(value: object) -> None:
    """Append the working directory to `sys.path` if an import path in `value` needs it.

    The function does nothing while the configuration of an untrusted run is read.

    Args:
        value: a configuration, or command-line arguments.
    """
    here = str(Path.cwd())
    if here in sys.path or is_restricted():
        return
    if any(is_only_here(package) for package in packages_in(value)):
        sys.path.append(here)


def packages_in(value: object) -> set[str]:
    """Return the names of the top-level packages and modules of all import paths in a
    configuration.
    """
    return {path.partition(".")[0] for path in paths_in(value)}


def paths_in(value: object) -> Iterator[str]:
    """Yield the import paths in a configuration, including those inside JSON or YAML text."""
    if isinstance(value, str):
        if is_import_path(value):
            yield value
        elif value.lstrip().startswith(JINJA):
            return
        elif value.lstrip()[:1] in ("{", "[") or "class_path" in value:
            yield from IMPORT_PATH.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from paths_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from paths_in(inner)


def is_import_path(text: str) -> bool:
    """Return whether a text is a dotted name, and not a file in the working directory, as
    `mine.yaml` may be.
    """
    return IMPORT_PATH.fullmatch(text) is not None and not os.path.exists(text)


def is_only_here(package: str) -> bool:
    """Return whether a package is in the working directory and cannot be imported from
    elsewhere.
    """
    folder = Path(package)
    return (folder.is_dir() or folder.with_suffix(".py").is_file()) and not is_installed(package)


def is_installed(package: str) -> bool:
    """Return whether Python can import a package; the package is not imported."""
    try:
        if package in sys.modules:
            return True
        spec = find_spec(package)
        return spec is not None and not isinstance(spec.loader, AliasLoader)
    except (ImportError, ValueError):
        return False
