"""Constructor arguments of classes, read from source code, which is much faster than importing
torch.

Functions return None if the source does not determine the answer. The parser, which imports the
classes, then finds it.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from lslm_lightning.configuration.source_tree import (
    LASTING,
    Definition,
    definition_of,
    imported,
    written_out,
)


class Setting(NamedTuple):
    """Argument of a constructor."""

    name: str
    type: str  # as the source has it, "" where it has none
    default: ast.expr | None  # None where it must be given
    meaning: str  # from the docstring
    module: str = ""  # that the default is written in

    @property
    def default_class(self) -> str:
        """Import path of the class that the default is, or is an instance of; "" for other
        defaults.
        """
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
        """Default as short text; "" if there is none."""
        return "" if self.default is None else shown(self.default)


def settings_of(path: str) -> tuple[Setting, ...] | None:
    """Return the constructor arguments of the class at an import path; None if the source does not
    determine them.
    """
    return lasting_settings_of(path) if path.startswith(LASTING) else settings_now(path)


def settings_now(path: str) -> tuple[Setting, ...] | None:
    """Return the constructor arguments of the class at an import path from its current source,
    without a cache.
    """
    definition = definition_of(path)
    return None if definition is None else settings_from(tuple(order_of(definition)))


lasting_settings_of = cache(settings_now)


def settings_from(order: tuple[Definition | None, ...]) -> tuple[Setting, ...] | None:
    """Return the constructor arguments of a class; None if the source does not determine them.

    Args:
        order: method resolution order of the class; None stands for a base class that was not
            found.
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
    """Return the arguments of a constructor, including those it passes on with `**kwargs` to the
    next constructor.

    Args:
        definition: class of the constructor.
        rest: classes after `definition` in the method resolution order; None stands for a base
            class that was not found.

    Returns:
        None if the source does not determine the arguments.
    """
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
    if call is None or inherited is None:
        return None
    taken = {keyword.arg for keyword in call.keywords}
    n_positional = sum(not isinstance(argument, ast.Starred) for argument in call.args)
    taken |= {setting.name for setting in own} | {each.name for each in inherited[:n_positional]}
    passed = tuple(setting for setting in inherited if setting.name not in taken)
    meanings = {setting.name: setting.meaning for setting in inherited} | meanings
    return tuple(s._replace(meaning=meanings.get(s.name, "")) for s in (*own, *passed))


def passing_on(constructor: ast.FunctionDef, name: str) -> ast.Call | None:
    """Return the call `super().__init__(..., **name)` in a constructor; None if `name` is used in
    another way.

    Args:
        name: name of the constructor's keyword arguments, usually "kwargs".
    """
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
    """Return the fields of a dataclass, those of base classes first; None if a base class was not
    found.

    Args:
        order: method resolution order of the class; None stands for a base class that was not
            found.
    """
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
    """Return the method called `name` that a class statement itself defines; None if there is none.

    Of several definitions with `overload`, the last one is returned.
    """
    found = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return found[-1] if found else None


def is_dataclass(node: ast.ClassDef) -> bool:
    """Return whether a class statement has the decorator `dataclass`."""
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_plain(node: ast.ClassDef) -> bool:
    """Return whether a class takes its arguments by `__init__` or dataclass fields, without a
    metaclass other than ABCMeta, `__new__`, or other decorators.
    """
    others = [each for each in node.decorator_list if "dataclass" not in ast.unparse(each)]
    metaclasses = {ast.unparse(keyword.value) for keyword in node.keywords}
    return not others and metaclasses <= {"ABCMeta"} and method_of(node, "__new__") is None


def order_of(definition: Definition) -> Iterator[Definition | None]:
    """Yield a class and its base classes in method resolution order.

    None stands for a base class that was not found. `object`, `ABC`, `Protocol` and `Generic` are
    left out.
    """
    lines: list[list[Definition | None]] = []
    bases: list[Definition | None] = []
    for base in definition.node.bases:
        name = ast.unparse(base).partition("[")[0]
        if name in ("ABC", "Protocol", "object", "Generic"):
            continue
        bases.append(definition_of(f"{definition.module}.{name}"))
        lines.append([bases[-1]] if bases[-1] is None else list(order_of(bases[-1])))
    yield definition
    lines.append(bases)
    while lines := [line for line in lines if line]:
        tails = [each for line in lines for each in line[1:]]
        head = next((line[0] for line in lines if line[0] not in tails), lines[0][0])
        yield head
        lines = [[each for each in line if each != head] for line in lines]


def summary_of(definition: Definition) -> str:
    """Return the first paragraph of a class's docstring."""
    return " ".join((ast.get_docstring(definition.node) or "").partition("\n\n")[0].split())


def meanings_of(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Return the descriptions of arguments in the docstring of a class or function, by argument
    name.
    """
    from docstring_parser import ParseError, parse

    try:
        found = parse(ast.get_docstring(node) or "").params
    except ParseError:
        return {}
    return {each.arg_name: " ".join((each.description or "").split()) for each in found}


def type_of(annotation: ast.expr | None) -> str:
    """Return an annotation as written in the source."""
    if annotation is None:
        return ""
    return (
        annotation.value
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
        else ast.unparse(annotation)
    )


def shown(default: ast.expr) -> str:
    """Return a default value as short text; for a default factory, the value that it creates."""
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
