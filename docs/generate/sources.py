"""Classes and functions of the project, found in its source code without importing it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lslm_lightning
from lslm_lightning.configuration.help import known_classes
from lslm_lightning.configuration.signatures import order_of
from lslm_lightning.configuration.source_tree import Definition, definition_of, file_of, tree_of

ROOT = Path(lslm_lightning.__file__).parents[1]


@cache
def all_definitions() -> tuple[Definition, ...]:
    """Return all public classes of the project, in order of module and place."""
    found = (definition_of(path) for paths in known_classes().values() for path in paths)
    return tuple(
        sorted(
            (each for each in found if each is not None),
            key=lambda each: (each.module, each.node.lineno),
        )
    )


def class_called(name: str) -> Definition:
    """Return the class of the project with a name.

    Raises:
        ValueError: the project has no class of this name.
    """
    for each in all_definitions():
        if each.node.name == name:
            return each
    raise ValueError(f"the project has no class {name}: a page names it; was it renamed?")


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


def subclasses(base: str, package: str = "") -> list[Definition]:
    """Return the public classes that can be made and derive from a class.

    Args:
        base: name of the class, which comes first if it can be made itself.
        package: module or package that the classes must be in; "" for all.
    """
    class_called(base)
    return [
        each
        for each in all_definitions()
        if base in base_names(each) and is_inside(each.module, package) and not is_abstract(each)
    ]


def is_inside(module: str, package: str) -> bool:
    """Return whether a module is `package` or in it; True for no package."""
    return not package or module == package or module.startswith(f"{package}.")


def modules_of(package: str) -> Iterator[str]:
    """Yield a package and its modules, by name, without private ones.

    Raises:
        ValueError: there is no such module.
    """
    file = file_of(package)
    if file is None:
        raise ValueError(f"the project has no module {package}: a page names it; was it renamed?")
    yield package
    if file.name == "__init__.py":
        for path in sorted(file.parent.rglob("*.py")):
            parts = path.relative_to(file.parent).with_suffix("").parts
            if path != file and not any(part.startswith("_") for part in parts):
                yield ".".join([package, *parts])


def function_at(module: str, name: str) -> ast.FunctionDef | None:
    """Return the function that a module defines at its top level; None if there is none."""
    tree = tree_of(module)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None
