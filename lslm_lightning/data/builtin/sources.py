"""Documented objects in Python source, parsed and never imported."""

import ast
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

NOT_PACKAGED = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "lib2to3",
}


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Documented(NamedTuple):
    """An object with a docstring; `module` is dotted, `name` qualified with it."""

    module: str
    name: str
    docstring: str
    node: Definition

    @property
    def signature(self) -> str:
        """Parameters in parentheses and what is returned; of a class its bases, of one without
        bases nothing.
        """
        if isinstance(self.node, ast.ClassDef):
            return f"({', '.join(map(ast.unparse, self.node.bases))})" if self.node.bases else ""
        returns = f" -> {ast.unparse(self.node.returns)}" if self.node.returns else ""
        return f"({ast.unparse(self.node.args)}){returns}"


def standard_library() -> Iterator[tuple[str, Path]]:
    """Dotted module and file of every module of the running Python, without its tests and demos."""
    root = Path(sysconfig.get_path("stdlib"))
    yield from _modules((path.relative_to(root), path) for path in root.rglob("*.py"))


def distribution(name: str) -> Iterator[tuple[str, Path]]:
    """Dotted module and file of every module of an installed distribution, without its tests;
    nothing when it is not installed.
    """
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        files = []
    yield from _modules(
        (Path(file), Path(file.locate()))
        for file in files
        if file.suffix == ".py" and ".." not in file.parts
    )


def documented(modules: Iterable[tuple[str, Path]]) -> Iterator[Documented]:
    """Classes, functions and methods with a docstring, in order; a file that does not parse has
    none.
    """
    for module, path in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        yield from _objects(tree, module, module)


def _objects(tree: ast.AST, module: str, prefix: str) -> Iterator[Documented]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            name = f"{prefix}.{node.name}"
            if docstring := ast.get_docstring(node):
                yield Documented(module, name, docstring, node)
            yield from _objects(node, module, name)


def _modules(files: Iterable[tuple[Path, Path]]) -> Iterator[tuple[str, Path]]:
    for relative, path in sorted(files):
        parts = relative.with_suffix("").parts
        if not (
            NOT_PACKAGED & set(parts)
            or parts[-1].startswith("test_")
            or parts[-1].endswith("_test")
        ):
            yield ".".join(part for part in parts if part != "__init__"), path
