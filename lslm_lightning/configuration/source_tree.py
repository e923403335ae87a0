"""Classes and names of modules, found in source code without importing the modules."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

from lslm_lightning.task_package import NAMES

LASTING = (
    "lslm_lightning.",
    *(f"{name}." for name in NAMES),
    "torch.",
    "lightning.",
)  # do not change while a process runs
DYNAMIC = ("__getattr__", "globals", "setattr", "vars")  # of modules that may have other names too
MOST_STEPS = 20  # that a name is followed through `from module import name`


class Definition(NamedTuple):
    """Class statement and the module that contains it."""

    module: str
    node: ast.ClassDef

    @property
    def path(self) -> str:
        """Import path of the class."""
        return f"{self.module}.{self.node.name}"


def definition_of(path: str) -> Definition | None:
    """Find the class at an import path, following imports; None if its source is not found."""
    for _ in range(MOST_STEPS):
        module, _, name = path.rpartition(".")
        tree = tree_of(module)
        if tree is None:
            outer, _, inner = module.rpartition(".")  # `nn.Module`, of a module that is imported
            target = imported(outer, inner) if outer and tree_of(outer) is not None else None
            if target is None:
                return None
            path = f"{target}.{name}"
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return Definition(module, node)
        target = imported(module, name)
        if target is None:
            return None
        path = target
    return None


def imported(module: str, name: str) -> str | None:
    """Return the import path that a name in a module was imported from; None if the name was not
    imported.
    """
    tree = tree_of(module)
    for node in statements(tree) if tree is not None else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origin = absolute(module, node)
                if (alias.asname or alias.name) == name:
                    return f"{origin}.{alias.name}"
                if alias.name == "*" and definition_of(f"{origin}.{name}") is not None:
                    return f"{origin}.{name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname == name or (alias.asname is None and alias.name == name):
                    return alias.name
    return None


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the top-level statements of a module, including those under `if TYPE_CHECKING`.

    Packages that import their classes lazily name them under `if TYPE_CHECKING`.
    """
    for node in tree.body:
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from node.body if isinstance(node, ast.If) and is_for_types else [node]


def absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of the module that a `from ... import` statement names."""
    if not node.level:
        return node.module or ""
    file = file_of(module)
    parts = module.split(".")
    up = node.level - (file is not None and file.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *filter(None, [node.module])])


def tree_of(module: str) -> ast.Module | None:
    """Return the syntax tree of a module; None if its source is not available."""
    file = file_of(module)
    try:
        return None if file is None else parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None


@cache
def parsed(file: Path, modified: int) -> ast.Module:
    """Return the syntax tree of a file.

    Args:
        modified: modification time of the file, part of the cache key.
    """
    return ast.parse(file.read_text("utf-8"))


def file_of(module: str) -> Path | None:
    """Return the source file of a module without importing its packages; None if there is none."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first) if first else None
        name = first
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            folders = spec.submodule_search_locations
            found = (finder.find_spec(name, folders) for finder in sys.meta_path)
            spec = next((each for each in found if each is not None), None)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def names_in(module: str) -> frozenset[str] | None:
    """Return all names that a module defines or imports; None if the source does not determine
    them.
    """
    tree = tree_of(module)
    if tree is None:
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if alias.name == "*" and isinstance(node, ast.ImportFrom):
                    found |= names_in(absolute(module, node)) or {DYNAMIC[0]}
                found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found |= {node.id} if isinstance(node.ctx, ast.Store) or node.id in DYNAMIC else set()
    return None if found.intersection(DYNAMIC) else frozenset(found)


def first_missing(path: str) -> tuple[str, str, list[str]] | None:
    """Return the first part of an import path that does not exist.

    Returns:
        Module, missing name, and the names that the module has. None if the path exists, or if
        names of the module are created only when it is imported.
    """
    parts = path.split(".")
    for i in range(1, len(parts)):
        module = ".".join(parts[:i])
        name = parts[i]
        if file_of(f"{module}.{name}") is not None:
            continue
        names = names_in(module)
        if names is None or name in names:
            return None
        file = file_of(module)
        is_package = file is not None and file.name == "__init__.py"
        folder = [str(file.parent)] if file is not None and is_package else []
        return module, name, sorted(names | {each.name for each in iter_modules(folder)})
    return None


def constant(module: str, name: str) -> ast.expr:
    """Return the expression that a module assigns to a name at its top level.

    Raises:
        LookupError: the module assigns nothing to the name.
    """
    tree = tree_of(module)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == name:
            return node.value
        if isinstance(node, ast.Assign) and any(
            ast.unparse(target) == name for target in node.targets
        ):
            return node.value
    raise LookupError(f"{module} assigns nothing to {name}")


def attribute_value(node: ast.Attribute, module: str) -> tuple[ast.expr, str] | None:
    """Return the value that a class statement assigns to an attribute, and the module of the class;
    None if there is none.

    Args:
        node: the attribute of a class, such as `WindowSizes.stride`.
        module: module that the expression is written in.
    """
    if not isinstance(node.value, ast.Name):
        return None
    name = node.value.id
    definition = definition_of(imported(module, name) or f"{module}.{name}")
    if definition is None:
        return None
    for each in definition.node.body:
        if isinstance(each, ast.AnnAssign) and each.value and ast.unparse(each.target) == node.attr:
            return each.value, definition.module
    return None


def written_out(default: ast.expr | None, module: str) -> tuple[ast.expr | None, str]:
    """Resolve a default value as far as the source allows.

    The name of a constant is replaced by the constant's value, and a mapping with `class_path` and
    `init_args` by the equivalent constructor call.

    Args:
        default: expression of the default; None if there is none.
        module: module that the expression is written in.

    Returns:
        The resolved expression and the module that it is written in.
    """
    for _ in range(MOST_STEPS):
        if isinstance(default, ast.Attribute) and (found := attribute_value(default, module)):
            default, module = found
        if not isinstance(default, ast.Name):
            break
        target = imported(module, default.id) or f"{module}.{default.id}"
        home, _, name = target.rpartition(".")
        try:
            default = constant(home, name)
        except LookupError:
            break
        module = home
    if isinstance(default, ast.Dict):
        given = mapping_of(default)
        if given.keys() == {"class_path", "init_args"}:
            path = ast.parse(ast.literal_eval(given["class_path"]), mode="eval").body
            arguments = mapping_of(given["init_args"]).items()
            default = ast.Call(path, [], [ast.keyword(name, value) for name, value in arguments])
    return default, module


def mapping_of(node: ast.expr) -> dict[str, ast.expr]:
    """Return the items of a dictionary literal whose keys are strings.

    Raises:
        LookupError: the expression is not a dictionary literal.
    """
    if not isinstance(node, ast.Dict):
        raise LookupError(f"{ast.unparse(node)} is no dictionary literal, which alone can be read")
    return {
        key.value: value
        for key, value in zip(node.keys, node.values)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
