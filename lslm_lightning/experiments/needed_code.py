"""Code beyond this project that a model needs: files of the user, which are copied into it, and
packages of others, which are required.

Nothing is imported: names are read from the source of the files.
"""

import ast
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from lslm_lightning.runs.own_code import packages_in
from lslm_lightning.runs.own_runs import OFFERED, source_of
from lslm_lightning.task_package import NAMES
from lslm_lightning.types import Json

BROUGHT = {*OFFERED, *NAMES, "lslm_lightning"}  # by the wheel of this project and what it requires


@dataclass(frozen=True)
class NeededCode:
    """Code that the classes of a config need.

    Args:
        files: paths of the user's own packages and modules.
        packages: names of distributions that are installed from a registry.
        needs_trust: whether the config names other classes than those of this project.
    """

    files: tuple[str, ...]
    packages: tuple[str, ...]
    needs_trust: bool


def needed_code(config: Json) -> NeededCode:
    """Return the code that the classes of a config need, with all that it imports in turn.

    An import that finds nothing on this machine is taken for an optional one.

    Raises:
        ValueError: the code of a class that the config names is not found, or has no files.
    """
    named = packages_in(config) - BROUGHT
    waiting, seen = sorted(named), {*BROUGHT, *sys.stdlib_module_names}
    files: set[str] = set()
    packages: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        source = source_of(name)
        if source is None and name not in named:
            continue
        if source is None or not os.path.exists(source):
            raise ValueError(
                f"the code of {name}, which config.yaml names, is not found as a file or folder; "
                "put it on the path"
            )
        if owners := published(name, source):
            packages |= owners
            continue
        path = Path(source)
        path = path.parent if path.name == "__init__.py" else path
        files.add(str(path))
        waiting += imported_by(path)
    return NeededCode(tuple(sorted(files)), tuple(sorted(packages)), bool(named))


def published(package: str, source: str) -> set[str]:
    """Return the distributions that own a package and that a registry has in their version: not
    those that were installed from a folder or a repository.

    Args:
        source: path of the package.
    """
    return {
        name
        for name in owners().get(package, ())
        if Path(source).is_relative_to(os.path.realpath(str(distribution(name).locate_file(""))))
        and not is_from_sources(name)
    }


@cache
def owners() -> Mapping[str, Sequence[str]]:
    """Return the names of the installed distributions of each top-level package."""
    return packages_distributions()


def is_from_sources(name: str) -> bool:
    """Return whether a distribution was installed from a folder or a repository (PEP 610)."""
    package = distribution(name)
    if package.read_text("RECORD") is None:  # a checkout that is on the path
        return True
    if (package.read_text("INSTALLER") or "").strip() == "conda":  # names where it was built
        return False
    origin: Mapping[str, Json] = json.loads(package.read_text("direct_url.json") or "{}")
    return bool(origin.keys() & {"dir_info", "vcs_info"})


def imported_by(path: Path) -> Iterator[str]:
    """Yield the top-level names that a module, or the modules of a package, import."""
    files: Sequence[Path] = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    for file in files:
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError):  # compiled, or a template
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.partition(".")[0]
