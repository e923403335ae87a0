"""Settings of classes as their source has them: reading a file takes no time, importing torch
seconds.

What the source does not tell for certain is None: the parser, which imports, knows it.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

LASTING = (
    "lslm_lightning.",
    "tasks.",
    "torch.",
    "lightning.",
)  # do not change while a process runs
DYNAMIC = ("__getattr__", "globals", "setattr", "vars")  # of modules that may have other names too
MOST_STEPS = 20  # that a name is followed through `from module import name`


class Setting(NamedTuple):
    """An argument of a constructor."""

    name: str
    type: str  # as the source has it, "" where it has none
    default: ast.expr | None  # None where it must be given
    meaning: str  # from the docstring
    module: str = ""  # that the default is written in

    @property
    def default_class(self) -> str:
        """Return the import path of the class that the default is or builds; "" of any other."""
        node = self.default
        node = node.body if isinstance(node, ast.Lambda) else node
        node = node.func if isinstance(node, ast.Call) else node
        if not isinstance(node, ast.Name | ast.Attribute):
            return ""
        first, _, rest = ast.unparse(node).partition(".")
        path = imported(self.module, first) or f"{self.module}.{first}"
        definition = definition_of(f"{path}.{rest}".rstrip("."))
        return "" if definition is None else definition.path

    @property
    def shown_default(self) -> str:
        """Return the default in few words; "" where there is none."""
        return "" if self.default is None else shown(self.default)


class Definition(NamedTuple):
    """A class statement and the module that it stands in."""

    module: str
    node: ast.ClassDef

    @property
    def path(self) -> str:
        return f"{self.module}.{self.node.name}"


def settings_of(path: str) -> tuple[Setting, ...] | None:
    """Return the settings of the class at an import path; None where the source does not tell."""
    return lasting_settings_of(path) if path.startswith(LASTING) else settings_now(path)


def settings_now(path: str) -> tuple[Setting, ...] | None:
    """Return the settings of a class by its source as it is now."""
    definition = definition_of(path)
    return None if definition is None else settings_from(tuple(order_of(definition)))


lasting_settings_of = cache(settings_now)


def settings_from(order: tuple[Definition | None, ...]) -> tuple[Setting, ...] | None:
    """Return what the constructor takes, given the order in which methods are looked up.

    None in the order stands for a base that was not found.
    """
    for i, definition in enumerate(order):
        if definition is None or not is_plain(definition.node):
            return None
        if is_dataclass(definition.node):
            return fields_of(order[i:])
        constructor = method_of(definition.node, "__init__")
        if constructor is not None:
            return arguments_of(definition, constructor, order[i + 1 :])
    return ()


def arguments_of(
    definition: Definition, constructor: ast.FunctionDef, rest: tuple[Definition | None, ...]
) -> tuple[Setting, ...] | None:
    """Return the arguments of a constructor, those that it passes on to the next one among them."""
    given = constructor.args
    names = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(names) - len(given.defaults)) + list(
        given.defaults
    )
    pairs = [*zip(names, defaults, strict=True)][1:]
    pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
    meanings: dict[str, str] = {}
    for base in reversed(rest):  # an argument that is passed on is described where it arrives
        meanings |= {} if base is None else meanings_of(base.node)
    meanings |= meanings_of(definition.node) | meanings_of(constructor)
    own = tuple(
        Setting(name.arg, type_of(name.annotation), default, "", module)
        for name, (default, module) in (
            (name, written_out(default, definition.module)) for name, default in pairs
        )
    )
    if given.kwarg is None:
        return tuple(each._replace(meaning=meanings.get(each.name, "")) for each in own)
    call = passing_on(constructor, given.kwarg.arg)
    inherited = settings_from(rest) if call is not None else None
    if inherited is None:
        return None
    taken = {keyword.arg for keyword in call.keywords}
    n_positional = sum(not isinstance(argument, ast.Starred) for argument in call.args)
    taken |= {setting.name for setting in own} | {each.name for each in inherited[:n_positional]}
    passed = tuple(setting for setting in inherited if setting.name not in taken)
    meanings = {setting.name: setting.meaning for setting in inherited} | meanings
    return tuple(s._replace(meaning=meanings.get(s.name, "")) for s in (*own, *passed))


def passing_on(constructor: ast.FunctionDef, name: str) -> ast.Call | None:
    """Return `super().__init__(..., **name)`; None where the keywords are used in another way."""
    uses = [
        node for node in ast.walk(constructor) if isinstance(node, ast.Name) and node.id == name
    ]
    for node in ast.walk(constructor):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__":
            passed = [keyword for keyword in node.keywords if keyword.arg is None]
            if len(uses) == len(passed) == 1 and passed[0].value is uses[0]:
                return node
    return None


def fields_of(order: Sequence[Definition | None]) -> tuple[Setting, ...] | None:
    """Return the fields of a dataclass, those of its bases first."""
    found: dict[str, Setting] = {}
    for definition in reversed(order):
        if definition is None:
            return None
        meanings = meanings_of(definition.node)
        for node in definition.node.body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            name = node.target.id
            kind = type_of(node.annotation)
            if kind.startswith(("ClassVar", "InitVar")):
                continue
            meaning = meanings.get(name, "")
            found[name] = Setting(name, kind, node.value, meaning, definition.module)
    return tuple(found.values())


def method_of(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Return the method of that name that a class defines itself: the last, after its overloads."""
    found = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return found[-1] if found else None


def is_dataclass(node: ast.ClassDef) -> bool:
    """Return whether a decorator makes the class a dataclass."""
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_plain(node: ast.ClassDef) -> bool:
    """Return whether nothing but `__init__` or the fields of a dataclass decides the arguments."""
    others = [each for each in node.decorator_list if "dataclass" not in ast.unparse(each)]
    metaclasses = {ast.unparse(keyword.value) for keyword in node.keywords}
    return not others and metaclasses <= {"ABCMeta"} and method_of(node, "__new__") is None


def order_of(definition: Definition) -> Iterator[Definition | None]:
    """Yield a class and its bases, each once, in the order in which methods are looked up.

    None stands for bases that were not found; those that have no constructor are left out.
    """
    lines: list[list[Definition | None]] = []
    bases: list[Definition | None] = []
    for base in definition.node.bases:
        words = ast.unparse(base).partition("[")[0]
        if words in ("ABC", "Protocol", "object", "Generic"):
            continue
        bases.append(definition_of(f"{definition.module}.{words}"))
        lines.append([bases[-1]] if bases[-1] is None else list(order_of(bases[-1])))
    yield definition
    lines.append(bases)
    while lines := [line for line in lines if line]:
        tails = [each for line in lines for each in line[1:]]
        head = next((line[0] for line in lines if line[0] not in tails), lines[0][0])
        yield head
        lines = [[each for each in line if each != head] for line in lines]


def definition_of(path: str) -> Definition | None:
    """Return the class at an import path, which modules may have imported from others."""
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
    """Return what a name of a module was imported from."""
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
    """Yield the statements of a module, those under `if TYPE_CHECKING` too: a package that imports
    its classes when they are asked for names them there.
    """
    for node in tree.body:
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from node.body if is_for_types else [node]


def absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the module of `from . import name`."""
    if not node.level:
        return node.module or ""
    file = file_of(module)
    parts = module.split(".")
    up = node.level - (file is not None and file.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *filter(None, [node.module])])


def tree_of(module: str) -> ast.Module | None:
    """Return the source of a module; None where there is none."""
    file = file_of(module)
    try:
        return None if file is None else parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None


@cache
def parsed(file: Path, modified: int) -> ast.Module:
    """Return the syntax tree of a file as it was when it was last modified."""
    return ast.parse(file.read_text("utf-8"))


def file_of(module: str) -> Path | None:
    """Return the source file of a module, without importing the packages that it is in."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first) if first else None
        name = first
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            places = spec.submodule_search_locations
            found = (finder.find_spec(name, places) for finder in sys.meta_path)
            spec = next((each for each in found if each is not None), None)
    except (ImportError, ValueError, AttributeError):
        return None
    is_source = spec is not None and spec.origin is not None and spec.origin.endswith(".py")
    return Path(spec.origin) if is_source else None


@cache
def names_in(module: str) -> frozenset[str] | None:
    """Return the names that a module defines or imports; None where its source does not tell
    all.
    """
    tree = tree_of(module)
    if tree is None:
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if alias.name == "*":
                    found |= names_in(absolute(module, node)) or {DYNAMIC[0]}
                found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found |= {node.id} if isinstance(node.ctx, ast.Store) or node.id in DYNAMIC else set()
    return None if found.intersection(DYNAMIC) else frozenset(found)


def first_missing(path: str) -> tuple[str, str, list[str]] | None:
    """Return where an import path leads nowhere: a module, the name that it lacks, and those it
    has.

    None where the path leads somewhere, or the source does not tell.
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
        inner = [each.name for each in iter_modules([str(file_of(module).parent)])]
        is_package = file_of(module).name == "__init__.py"
        return module, name, sorted(names | set(inner if is_package else ()))
    return None


def constant(module: str, name: str) -> ast.expr:
    """Return what a module assigns to a name at its top.

    Raises:
        LookupError: it assigns nothing to it.
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


def written_out(default: ast.expr | None, module: str) -> tuple[ast.expr | None, str]:
    """Return a default and the module that it is written in: for the name of a constant, the value
    that is assigned to it; for a class path with arguments, the call that they stand for.
    """
    for _ in range(MOST_STEPS):
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
    """Return the items of a dictionary that is written out."""
    if not isinstance(node, ast.Dict):
        raise LookupError(f"{ast.unparse(node)} is no dictionary")
    return {
        key.value: value
        for key, value in zip(node.keys, node.values)
        if isinstance(key, ast.Constant)
    }


def summary_of(definition: Definition) -> str:
    """Return the first sentence of the docstring of a class."""
    return " ".join((ast.get_docstring(definition.node) or "").partition("\n\n")[0].split())


def meanings_of(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    from docstring_parser import ParseError, parse

    try:
        found = parse(ast.get_docstring(node) or "").params
    except ParseError:
        return {}
    return {each.arg_name: " ".join((each.description or "").split()) for each in found}


def type_of(annotation: ast.expr | None) -> str:
    """Return an annotation as it is written."""
    if annotation is None:
        return ""
    return (
        annotation.value
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
        else ast.unparse(annotation)
    )


def shown(default: ast.expr) -> str:
    """Return a default as a user would write it: of a function that builds something, what it
    builds.
    """
    if isinstance(default, ast.Lambda):
        own = {argument.arg for argument in default.args.args}
        call = default.body
        if isinstance(call, ast.Call):
            kept = [a for a in call.args if not (isinstance(a, ast.Name) and a.id in own)]
            return shown(ast.Call(call.func, kept, call.keywords))
    if isinstance(default, ast.Constant):
        value = default.value
        return (
            "null"
            if value is None
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )
    if isinstance(default, ast.Call):
        name = ast.unparse(default.func).rpartition(".")[2]
        if name == "field":
            made = next(
                (k.value for k in default.keywords if k.arg in ("default", "default_factory")), None
            )
            return (
                ""
                if made is None
                else {"dict": "{}", "list": "[]"}.get(ast.unparse(made)) or shown(made)
            )
        given = [ast.unparse(a) for a in default.args] + [
            f"{k.arg}={shown(k.value)}" for k in default.keywords
        ]
        return f"{name}({', '.join(given)})" if given else name
    return ast.unparse(default)
