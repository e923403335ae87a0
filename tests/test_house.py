"""Laws of the source: commands are thin, and no files import each other in a circle."""

import ast
import graphlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "lslm_lightning").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
COMMANDS = [file for file in FILES if file.parent.name == "commands"]
MOST_LINES = 1700  # of all commands


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imported(node: ast.AST) -> set[str]:
    """Our modules that a piece of source imports when it runs, inside functions too."""
    if is_type_checking(node):
        return set()
    found: set[str] = set()
    if isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        found = {name if name in MODULES else node.module for name in names}
    elif isinstance(node, ast.Import):
        found = {alias.name for alias in node.names}
    return found.union(*map(imported, ast.iter_child_nodes(node))) & MODULES.keys()


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {name: imported(tree_of(file)) - {name} for name, file in MODULES.items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(reversed(error.args[1]))}")


def test_commands_are_thin() -> None:
    n_line = sum(len(file.read_text("utf-8").splitlines()) for file in COMMANDS)
    assert n_line <= MOST_LINES
    parsers = {"ArgumentParser", "HelpFormatter"}
    for file in COMMANDS:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ClassDef):
                bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
                assert bases & parsers, f"{file.name} has the class {node.name}"
