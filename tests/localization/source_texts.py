"""Texts in the source that reach users: messages of errors, printed lines, warnings, and the pieces
they are composed of.

A text is found where it is raised or printed. From there, names are followed to their assignments,
calls to what the called function returns, and parameters to the arguments of calls. An f-string is
a template, with a field for each value.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
SINKS = (
    *("print", "rank_zero_print", "warn", "_warn", "info", "warning", "tell"),
    *("suggest_command", "attach_suggestion", "refuse", "each"),
)
LABELS = ("Work", "TrainingWork", "PreparationWork", "Part", "translated")
# files of the server whose texts its terminal shows; those of the others go to its clients
SHOWN_BY_SERVE = (
    "engine_client.py",
    "keys.py",
    "limits.py",
    "server.py",
    "traces.py",
)
FIELD = re.compile(r"\{\w+\}")
PROGRAM = re.compile(r"^lslm( [a-z-]+)?: ")  # before errors of commands
MOST_FORMS = 12  # of one f-string with alternatives in it
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.Module
NOWHERE = ast.Module([], [])  # scope of constants


@dataclass(frozen=True)
class Piece:
    """Value in an f-string."""

    name: str
    source: str
    node: ast.expr = field(compare=False)


Form = tuple[str | Piece, ...]


@dataclass
class Source:
    """Functions, assignments and calls of the package, found by their names."""

    functions: dict[str, list[tuple[Function, ast.Module]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    constants: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[tuple[ast.Call, Scope]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    raises: list[tuple[ast.Raise, Scope]] = field(default_factory=list)


def read_source(files: list[Path]) -> Source:
    """Return what the files define and call."""
    source = Source()
    for path in files:
        module = ast.parse(path.read_text("utf-8"))
        for statement in module.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                for name in assigned_names(statement):
                    source.constants[name].append(statement.value)
        visit(module, module, module, source)
    return source


def visit(node: ast.AST, scope: Scope, module: ast.Module, source: Source) -> None:
    """Record calls, raises and functions below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            source.functions[child.name].append((child, module))
            visit(child, child, module, source)
            continue
        if isinstance(child, ast.ClassDef):
            for statement in child.body:
                if isinstance(statement, Function) and statement.name == "__init__":
                    source.functions[child.name].append((statement, module))
        if isinstance(child, ast.Call):
            source.calls[called_name(child)].append((child, scope))
        if isinstance(child, ast.Raise) and child.exc is not None:
            source.raises.append((child, scope))
        visit(child, scope, module, source)


def assigned_names(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    """Return the names that a statement assigns to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def called_name(call: ast.Call) -> str:
    """Return the last name of what is called."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


class Collector:
    """Collects the texts of a source.

    Attributes:
        texts: text or template, and the texts that each of its fields that is composed of texts
            may stand for.
        lists: texts and their fields that stand for several values, joined.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.texts: dict[str, dict[str, set[str]]] = {}
        self.lists: set[tuple[str, str]] = set()
        self.seen: dict[tuple[int, int, int], set[str]] = {}
        self.keys: dict[Scope, list[str]] = defaultdict(list)  # under which a function is called
        for key, functions in source.functions.items():
            for function in {function for function, _ in functions}:
                self.keys[function].append(key)
        for statement, scope in source.raises:
            if isinstance(statement.exc, ast.Call) and called_name(statement.exc)[:1].isupper():
                for argument in statement.exc.args:
                    self.collect(argument, scope)
        errors = {name for name in source.calls if name.endswith("Error")}
        for name in (*SINKS, *sorted(errors)):
            for call, scope in source.calls[name]:
                for argument in call.args:
                    self.collect(argument, scope)
        for table in source.constants["EXPLANATIONS"]:
            for name in map(ast.unparse, values_in(table)):
                for function, _ in source.functions[name]:
                    self.collect_all(returned(function), function, 0)
        for name in LABELS:
            for function, _ in source.functions[name]:
                for value in function.args.defaults:
                    self.collect(value, function, words=1)
            for call, scope in source.calls[name]:
                given = [*call.args, *(each.value for each in call.keywords)]
                if name == "translated":
                    given = given[:1] if ast.unparse(given[-1]) == "MESSAGES" else []
                for argument in given:
                    self.collect(argument, scope, words=2)

        for call, scope in source.calls["Table"]:  # of rich; tables of reports have other texts
            for argument in call.args if any(each.arg == "box" for each in call.keywords) else []:
                if isinstance(argument, ast.Constant | ast.Starred):
                    self.collect(argument, scope, words=2)

    def collect(self, node: ast.expr, scope: Scope, words: int = 0) -> set[str]:
        """Add the texts that an expression stands for, and those of their fields; return the texts
        of the expression.

        Args:
            words: add single words too, here and where values come from, in so many steps.
        """
        key = (id(node), id(scope), words)
        if key in self.seen:
            return self.seen[key]
        found = self.seen[key] = set()
        inner = max(0, words - 1)
        for form in self.forms(node, scope):
            names = field_names(form)
            template = "".join(names[part] if isinstance(part, Piece) else part for part in form)
            text = template.strip()
            if len(form) == 1 and isinstance(form[0], Piece):
                found |= self.follow(form[0].node, scope, inner)
                continue
            if not re.search("[A-Za-z]{2,}", FIELD.sub("", text)) or not (words or " " in text):
                for part in names:
                    self.follow(part.node, scope, inner)
                continue
            template = PROGRAM.sub("", text)
            found.add(template)
            fields = self.texts.setdefault(template, defaultdict(set))
            for part, name in names.items():
                if is_joined(part.node):
                    self.lists.add((template, name))
                if texts := self.follow(part.node, scope, inner):
                    fields[name] |= texts
        self.follow(node, scope, inner)
        return found

    def collect_all(self, nodes: list[ast.expr], scope: Scope, words: int) -> set[str]:
        """Add the texts of several expressions; return them."""
        found: set[str] = set()
        for node in nodes:
            found |= self.collect(node, scope, words)
        return found

    def follow(self, node: ast.expr, scope: Scope, words: int) -> set[str]:
        """Collect the texts of the values in an expression; return them."""
        found: set[str] = set()
        for value in values_in(node):
            if isinstance(value, ast.Name):
                given = assignments(value.id, scope)
                found |= self.collect_all(given, scope, words)
                if value.id.isupper():
                    for constant in self.source.constants[value.id]:
                        found |= self.collect(constant, NOWHERE, words)
                found |= self.follow_parameter(value.id, scope, words)
            elif isinstance(value, ast.Call):
                for function, _ in self.source.functions[called_name(value)]:
                    given = returned(function)
                    found |= self.collect_all(given, function, words)
            else:
                found |= self.collect(value, scope, words)
        return found

    def follow_parameter(self, name: str, scope: Scope, words: int) -> set[str]:
        """Collect the arguments that calls give to a parameter; return their texts."""
        if not isinstance(scope, Function):
            return set()
        names = [each.arg for each in (*scope.args.posonlyargs, *scope.args.args)]
        keywords = [each.arg for each in scope.args.kwonlyargs]
        if name not in (*names, *keywords):
            return set()
        defaults = zip(
            (
                *scope.args.args[len(scope.args.args) - len(scope.args.defaults) :],
                *scope.args.kwonlyargs,
            ),
            (*scope.args.defaults, *scope.args.kw_defaults),
            strict=True,
        )
        given = [value for each, value in defaults if value and each.arg == name]
        found = self.collect_all(given, NOWHERE, words)
        n_self = names[:1] in (["self"], ["cls"])
        for key in self.keys[scope]:
            for call, caller in self.source.calls[key]:
                given = [each.value for each in call.keywords if each.arg == name]
                if name in names:
                    given += call.args[names.index(name) - n_self :][:1]
                found |= self.collect_all(given, caller, words)
        return found

    def forms(self, node: ast.expr, scope: Scope) -> list[Form]:
        """Return the templates that an expression stands for."""
        match node:
            case ast.Constant(value=str(text)):
                return [percent_form(text)]
            case ast.JoinedStr(values=values):
                return self.product(values, scope)
            case ast.FormattedValue(value=value):
                inner = self.forms(value, scope) if is_text(value) else []
                return inner or [(Piece(name_of(value), ast.unparse(node), value),)]
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return self.product([left, right], scope)
            case ast.Starred(value=value):
                return self.forms(value, scope)
            case ast.Subscript(value=ast.Tuple() as value):
                return self.forms(value, scope)
            case ast.IfExp(body=body, orelse=orelse):
                return self.forms(body, scope) + self.forms(orelse, scope)
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
                return [form for value in values for form in self.forms(value, scope)]
        return [(Piece(name_of(node), ast.unparse(node), node),)]

    def product(self, nodes: list[ast.expr], scope: Scope) -> list[Form]:
        """Return the templates of several expressions one after the other."""
        each = [self.forms(node, scope) for node in nodes]
        return [sum(parts, ()) for parts in product(*each)][:MOST_FORMS]


def percent_form(text: str) -> Form:
    """Return a text, or the template of a format of logging (`%s`)."""
    parts = re.split(r"%[sd]", text)
    if len(parts) == 1:
        return (text,)
    form: list[str | Piece] = [parts[0].replace("%%", "%")]
    for i, part in enumerate(parts[1:], 1):
        form += [Piece(f"value{i}", str(i), ast.Constant(i)), part.replace("%%", "%")]
    return tuple(form)


def is_text(node: ast.expr) -> bool:
    """Return whether an expression is a choice between texts."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, str)
        case ast.JoinedStr():
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return is_text(body) or is_text(orelse)
    return False


def is_joined(node: ast.expr) -> bool:
    """Return whether an expression joins values by commas."""
    return ast.unparse(node).startswith("', '.join(")


def values_in(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the values of an expression that may be texts: names and calls."""
    match node:
        case ast.Name() | ast.Call():
            yield node
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "join":
                    for argument in node.args:
                        yield from values_in(argument)
                if node.func.attr in ("removeprefix", "removesuffix", "strip", "rstrip", "get"):
                    yield from values_in(node.func.value)
            if isinstance(node, ast.Call) and called_name(node) in ("Text", "partial"):
                for argument in node.args:
                    yield from values_in(argument)
        case ast.JoinedStr(values=values):
            for value in values:
                yield from values_in(value)
        case ast.BoolOp(values=values):
            for value in values:
                yield from [value] if is_text(value) else values_in(value)
        case ast.FormattedValue(value=value):
            yield from values_in(value)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            yield from values_in(left)
            yield from values_in(right)
        case ast.IfExp(body=body, orelse=orelse):
            yield from values_in(body)
            yield from values_in(orelse)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            for element in elements:
                yield from [element] if is_text(element) else values_in(element)
        case ast.GeneratorExp(elt=value) | ast.ListComp(elt=value) | ast.Starred(value=value):
            yield from values_in(value) if isinstance(value, ast.Call) else [value]
        case ast.Dict(values=values):
            for value in values:
                yield from [value] if is_text(value) else values_in(value)
        case ast.Subscript(value=value):
            yield from values_in(value)


def assignments(name: str, scope: Scope) -> list[ast.expr]:
    """Return what a function assigns to a name."""
    return all_assignments(scope).get(name, [])


@cache
def all_assignments(scope: Scope) -> dict[str, list[ast.expr]]:
    """Return what a function assigns to each of its names."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in ast.walk(scope) if isinstance(scope, Function) else []:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for name in {*assigned_names(node)}:
                found[name].append(node.value)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            found[node.target.id].append(node.iter)
        if isinstance(node, ast.NamedExpr):
            found[node.target.id].append(node.value)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found[node.target.id].append(node.value)
    return found


@cache
def returned(function: Function) -> list[ast.expr]:
    """Return what a function returns or yields."""
    return [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None
    ]


def name_of(node: ast.expr) -> str:
    """Return a name for the value of an expression."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").lower()
        case ast.Call(func=ast.Attribute(attr="join" | "format" | "strip"), args=[first, *_]):
            return name_of(first)
        case ast.Call(func=ast.Name(id="str" | "len" | "repr" | "list" | "sorted"), args=[one, *_]):
            return name_of(one)
        case ast.Call(func=ast.Attribute(attr="map"), args=[_, one]):
            return name_of(one)
        case ast.Call(func=function):
            return name_of(function)
        case ast.Subscript(value=value):
            return name_of(value)
        case ast.BinOp(left=left):
            return name_of(left)
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return name_of(element)
    return "value"


def field_names(form: Form) -> dict[Piece, str]:
    """Return the field of each value: its name, with a number if another value has the name."""
    names: dict[Piece, str] = {}
    for part in form:
        if isinstance(part, Piece) and part not in names:
            name, n = part.name, 2
            while f"{{{name}}}" in names.values():
                name, n = f"{part.name}{n}", n + 1
            names[part] = f"{{{name}}}"
    return names


def collected() -> Collector:
    """Return the texts and templates in the source that reach users."""
    return Collector(read_source(source_files()))


def source_files() -> list[Path]:
    """Return the files of the package and the tasks, without those whose texts only pages show, or
    are sent to clients of a server, which may speak another language than its machine.
    """
    files = [*(ROOT / "lslm_lightning").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    return sorted(
        path
        for path in files
        if path.name not in ("explorer.py", "samples.py")
        and ("serving" not in path.parts or path.name in SHOWN_BY_SERVE)
    )
