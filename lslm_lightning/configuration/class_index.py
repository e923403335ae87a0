"""Public classes of the project, found in its source code without importing it."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import lslm_lightning
from lslm_lightning.configuration.signatures import order_of
from lslm_lightning.configuration.source_tree import Definition, definition_of
from lslm_lightning.task_package import INSTALLED

STATEMENT = re.compile(r"^class (_?[A-Z]\w*)(?:\(([^)]*)\))?", re.MULTILINE)


class ClassStatement(NamedTuple):
    """Beginning of a class statement.

    Attributes:
        path: import path of the class.
        bases: names in its parentheses.
    """

    path: str
    bases: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.path.rpartition(".")[2]


def known_classes() -> dict[str, list[str]]:
    """Return the import paths of this project's public classes, by class name."""
    found: dict[str, list[str]] = {}
    for each in class_statements():
        if not each.name.startswith("_"):
            found.setdefault(each.name, []).append(each.path)
    return found


@cache
def class_statements() -> tuple[ClassStatement, ...]:
    """Return the class statements of all modules of the project."""
    home = Path(lslm_lightning.__file__).parents[1]
    found = []
    for package in ("lslm_lightning", INSTALLED):
        for file in sorted((home / package).rglob("*.py")):
            module = ".".join(file.relative_to(home).with_suffix("").parts).removesuffix(
                ".__init__"
            )
            for name, bases in STATEMENT.findall(file.read_text("utf-8")):
                found.append(
                    ClassStatement(f"{module}.{name}", frozenset(re.findall(r"\w+", bases)))
                )
    return tuple(found)


def in_order(paths: Iterable[str]) -> list[Definition]:
    """Return the definitions of classes in order of module and place."""
    found = filter(None, map(definition_of, paths))
    return sorted(found, key=lambda each: (each.module, each.node.lineno))


def subclasses(base: str, package: str = "") -> list[Definition]:
    """Return the public classes that can be made and derive from a class.

    Args:
        base: name of the class, which comes first if it can be made itself.
        package: module or package that the classes must be in; "" for all.
    """
    names = {base}
    n_before = 0
    while n_before < len(names):  # parsing all modules would take seconds
        n_before = len(names)
        names |= {each.name for each in class_statements() if each.bases & names}
    paths = [path for name in names for path in known_classes().get(name, ())]
    return [
        each
        for each in in_order(paths)
        if is_inside(each.module, package) and base in base_names(each) and not is_abstract(each)
    ]


def classes_in(package: str) -> list[Definition]:
    """Return the public classes of a module or package that can be made."""
    paths = (path for paths in known_classes().values() for path in paths)
    found = in_order(path for path in paths if is_inside(path, package))
    return [each for each in found if not is_abstract(each)]


@cache
def base_names(definition: Definition) -> tuple[str, ...]:
    """Return the names of a class and its bases, in method resolution order."""
    return tuple(each.node.name for each in order_of(definition) if each is not None)


def is_abstract(definition: Definition) -> bool:
    """Return whether a class leaves an abstract method undefined, or is a protocol."""
    if any(ast.unparse(base).startswith("Protocol") for base in definition.node.bases):
        return True
    defined: set[str] = set()
    for each in order_of(definition):
        for node in each.node.body if each is not None else ():
            for name, is_open in members_of(node):
                if is_open and name not in defined:
                    return True
                defined.add(name)
    return False


def members_of(node: ast.stmt) -> Iterator[tuple[str, bool]]:
    """Yield the names that a statement of a class defines, and whether they are abstract."""
    if isinstance(node, ast.FunctionDef):
        marks = [ast.unparse(each) for each in node.decorator_list]
        yield node.name, any("abstractmethod" in mark for mark in marks)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            for each in ast.walk(target):
                if isinstance(each, ast.Name):
                    yield each.id, False
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, False


def is_inside(module: str, package: str) -> bool:
    """Return whether a module is `package` or in it; True for no package."""
    return not package or module == package or module.startswith(f"{package}.")
