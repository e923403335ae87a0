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
from importlib.util import find_spec
from pathlib import Path

from lslm_lightning.runs.own_code import packages_in, paths_in
from lslm_lightning.runs.own_runs import OFFERED, path_of, source_of
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
    waiting, seen = sorted(paths_in(config)), set[str]()
    files: set[str] = set()
    packages: set[str] = set()
    while waiting:
        module = waiting.pop()
        name = module.partition(".")[0]
        if module in seen or name in BROUGHT or name in sys.stdlib_module_names:
            continue
        seen.add(module)
        source = source_of(name) or hooked_source(name)
        if source is None or not os.path.exists(source):
            if name not in named:
                continue
            raise ValueError(
                f"the code of {name}, which config.yaml names, is not found as a file or folder; "
                "put it on the path"
            )
        if owners := published(module, source):
            packages |= owners
            continue
        path = Path(source)
        path = path.parent if path.name == "__init__.py" else path
        if str(path) in files or (name not in named and not modules_in(path)):
            continue  # a folder of data, which has the name of a missing package
        files.add(str(path))
        waiting += imported_by(path)
    return NeededCode(tuple(sorted(files)), tuple(sorted(packages)), bool(named))


def hooked_source(package: str) -> str | None:
    """Return the path of a package that only a finder of `sys.meta_path` knows, as `pip install -e`
    adds them; None if it is not found.
    """
    try:
        return path_of(find_spec(package))
    except (ImportError, ValueError):
        return None


def published(module: str, source: str) -> set[str]:
    """Return the distributions that own a module and that a registry has in their version: not
    those that were installed from a folder, a file or a repository.

    Args:
        source: path of the top-level package.
    """
    return {
        name
        for name in owners_of(module)
        if Path(source).is_relative_to(os.path.realpath(str(distribution(name).locate_file(""))))
        and not is_from_sources(name)
    }


def owners_of(module: str) -> set[str]:
    """Return the names of the installed distributions with a module, or with the innermost package
    around it that any has: several may share a top-level package.
    """
    names = set(owners().get(module.partition(".")[0], ()))
    while len(names) > 1 and "." in module:
        if found := {name for name in names if module in modules_of(name)}:
            return found
        module = module.rpartition(".")[0]
    return names


@cache
def modules_of(name: str) -> set[str]:
    """Return the dotted names of the modules and packages of an installed distribution."""
    found = set()
    for file in distribution(name).files or ():
        parts = (*file.parent.parts, file.name.partition(".")[0])
        found |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return found


@cache
def owners() -> Mapping[str, Sequence[str]]:
    """Return the names of the installed distributions of each top-level package."""
    return packages_distributions()


def is_from_sources(name: str) -> bool:
    """Return whether a distribution was installed from a folder, a file or a repository (PEP
    610).
    """
    package = distribution(name)
    if package.read_text("RECORD") is None:  # a checkout that is on the path
        return True
    if (package.read_text("INSTALLER") or "").strip() == "conda":  # names where it was built
        return False
    origin: Mapping[str, Json] = json.loads(package.read_text("direct_url.json") or "{}")
    is_file = str(origin.get("url")).startswith("file:")
    return bool(origin.keys() & {"dir_info", "vcs_info"}) or is_file


def modules_in(path: Path) -> list[Path]:
    """Return the files of a module, or of the modules of a package, without hidden ones."""
    if not path.is_dir():
        return [path]
    return [
        file
        for file in sorted(path.rglob("*.py"))
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]


def imported_by(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module, or the modules of a package, import.

    The last part may be a name in a module.
    """
    for file in modules_in(path):
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (OSError, SyntaxError, ValueError):  # unreadable, compiled, or a template
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
