"""Classes and functions of the project, found in its source code without importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lslm_lightning
from lslm_lightning.configuration.class_index import known_classes
from lslm_lightning.configuration.source_tree import Definition, definition_of, file_of, tree_of

ROOT = Path(lslm_lightning.__file__).parents[1]


def class_called(name: str) -> Definition:
    """Return the class of the project with a name.

    Raises:
        ValueError: the project has no class of this name.
    """
    for path in known_classes().get(name, ()):
        if (found := definition_of(path)) is not None:
            return found
    raise ValueError(f"the project has no class {name}: a page names it; was it renamed?")


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
