"""Interface from Python: functions, classes and their members, from the source code."""

import ast
from collections.abc import Iterator
from copy import deepcopy

from docstring_parser import parse

import lslm_lightning
from docs.generate import sources
from docs.generate.language import colon, localized
from docs.generate.markdown import code, paragraphs, plain
from lslm_lightning.configuration.signatures import is_dataclass
from lslm_lightning.configuration.source_tree import definition_of, imported, tree_of

CONTRACTS = "lslm_lightning.contracts."  # types that have a page of their own
Function = ast.FunctionDef | ast.AsyncFunctionDef


def members(package: str) -> str:
    """Return the text on all public classes and functions of a package.

    Of `lslm_lightning` itself these are the functions that it exports.
    """
    if package == lslm_lightning.__name__:
        return "\n\n".join(
            of_function(node, f"{package}.{name}") for name, _, node in exported_functions()
        )
    return "\n\n".join(part for module in sources.modules_of(package) for part in of_module(module))


def of_module(module: str) -> Iterator[str]:
    """Yield the parts of the text on one module; nothing if it has no public class or function."""
    tree = tree_of(module)
    found = [
        node
        for node in (tree.body if tree is not None else ())
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")
    ]
    if tree is None or not found:
        return
    yield f"### {module}"
    yield paragraphs(ast.get_docstring(tree) or "")
    for node in found:
        yield (
            of_class(module, node)
            if isinstance(node, ast.ClassDef)
            else of_function(node, f"{module}.{node.name}")
        )


def exported_functions() -> Iterator[tuple[str, str, Function]]:
    """Yield the name, the module and the definition of each function that the package exports."""
    package = lslm_lightning.__name__
    for name in sorted(lslm_lightning.__all__, key=str.lower):
        module, _, original = (imported(package, name) or "").rpartition(".")
        node = sources.function_at(module, original) if module else None
        if node is not None:
            yield name, module, node


def results() -> str:
    """Return the text on the classes that the package exports, or that its functions return."""
    package = lslm_lightning.__name__
    found: dict[str, tuple[str, ast.ClassDef]] = {}
    for name in lslm_lightning.__all__:
        definition = definition_of(f"{package}.{name}")
        if definition is not None:
            found[name] = (definition.module, definition.node)
    for _, module, node in exported_functions():
        for each in ast.walk(node.returns) if node.returns is not None else ():
            if (made := returned(module, each)) is not None:
                found[made[1].name] = made
    return "\n\n".join(of_class(*made) for _, made in sorted(found.items()))


def returned(module: str, node: ast.AST) -> tuple[str, ast.ClassDef] | None:
    """Return the project's class that a part of an annotation names; None if it names none."""
    name = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
    if not isinstance(name, str) or not name.isidentifier():
        return None
    found = definition_of(imported(module, name) or f"{module}.{name}")
    if found is None or not found.module.startswith(f"{lslm_lightning.__name__}."):
        return None
    has_own_page = found.module.startswith(CONTRACTS)
    return None if has_own_page else (found.module, found.node)


def of_class(module: str, node: ast.ClassDef) -> str:
    """Return the directive of a class with its public methods and properties."""
    constructor = next((each for each in functions(node) if each.name == "__init__"), None)
    arguments = "" if constructor is None else signature(constructor, is_method=True)
    arguments = arguments.partition(" -> ")[0] or field_arguments(node)
    parts = [description(ast.get_docstring(node) or "")]
    for each in functions(node):
        docstring = ast.get_docstring(each)
        if each.name.startswith("_") or not docstring or docstring.startswith("Deprecated"):
            continue
        marks = {ast.unparse(mark) for mark in each.decorator_list}
        if marks & {"property", "cached_property"}:
            kind = f"\n:type: {written(each.returns)}" if each.returns else ""
            parts.append(directive("property", each.name, description(docstring), kind))
        else:
            options = "".join(
                f"\n:{mark}:" for mark in sorted(marks & {"classmethod", "staticmethod"})
            )
            is_bound = "staticmethod" not in marks
            title = f"{each.name}{signature(each, is_method=is_bound)}"
            parts.append(directive("method", title, description(docstring), options))
    body = "\n\n".join(filter(None, parts))
    return directive("class", f"{module}.{node.name}{arguments}", body, depth=4)


def field_arguments(node: ast.ClassDef) -> str:
    """Return the arguments of a dataclass or a named tuple, from its fields; "" for other
    classes.
    """
    is_tuple = "NamedTuple" in map(ast.unparse, node.bases)
    if not is_tuple and not is_dataclass(node):
        return ""
    fields = [
        each
        for each in node.body
        if isinstance(each, ast.AnnAssign) and not written(each.annotation).startswith("ClassVar")
    ]
    shown = [
        f"{ast.unparse(each.target)}: {written(each.annotation)}"
        + (f" = {ast.unparse(each.value)}" if each.value is not None else "")
        for each in fields
    ]
    return f"({', '.join(shown)})"


def functions(node: ast.ClassDef) -> Iterator[Function]:
    """Yield the methods that a class statement defines, without alternatives for type checkers."""
    for each in node.body:
        if isinstance(each, Function) and "overload" not in map(ast.unparse, each.decorator_list):
            yield each


def of_function(node: Function, path: str) -> str:
    """Return the directive of a function.

    Args:
        path: import path that users write.
    """
    body = description(ast.get_docstring(node) or "")
    return directive("function", f"{path}{signature(node)}", body, depth=4)


def directive(kind: str, title: str, body: str, options: str = "", depth: int = 3) -> str:
    """Return a directive that describes a Python object.

    Args:
        depth: number of colons of the fence; more than those inside it.
    """
    fence = ":" * depth
    return f"{fence}{{py:{kind}}} {title}{options}\n\n{body}\n{fence}"


def signature(node: Function, is_method: bool = False) -> str:
    """Return the arguments and the result of a function as written in the source, on one line.

    Args:
        is_method: leave out the first argument.
    """
    shown = deepcopy(node.args)
    shown.args = shown.args[is_method:]
    for each in ast.walk(shown):
        if isinstance(each, ast.arg) and each.annotation is not None:
            each.annotation = ast.Name(written(each.annotation))
    result = f" -> {written(node.returns)}" if node.returns is not None else ""
    return f"({ast.unparse(shown)}){result}"


def written(annotation: ast.expr | None) -> str:
    """Return an annotation as written, without the quotation marks of forward references."""
    if annotation is None:
        return ""
    text = ast.unparse(annotation)
    return text if "Literal" in text else text.replace("'", "")


def description(docstring: str) -> str:
    """Return a docstring as Markdown: prose, then arguments, results and errors as lists."""
    found = parse(docstring)
    between = "\n\n" if found.blank_after_short_description else "\n"
    prose = between.join(filter(None, (found.short_description, found.long_description)))
    parts = [paragraphs(prose)]
    by_section: dict[str, list[str]] = {}
    for each in found.params:
        section = "Attributes:" if each.args[0] == "attribute" else "Arguments:"
        line = f"- {code(each.arg_name)}{colon()}{one_line(each.description)}"
        by_section.setdefault(section, []).append(line)
    for name, lines in by_section.items():
        parts.append(f"{localized(name)}\n\n" + "\n".join(lines))
    if found.returns is not None and found.returns.description:
        verb = localized("Yields" if found.returns.is_generator else "Returns")
        kind = f"{plain(found.returns.type_name)}{colon()}" if found.returns.type_name else ""
        parts.append(f"{verb}{colon()}{kind}{one_line(found.returns.description)}")
    if found.raises:
        lines = [
            f"- {code(each.type_name or '')}{colon()}{one_line(each.description)}"
            for each in found.raises
        ]
        parts.append(f"{localized('Raises:')}\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def one_line(text: str | None) -> str:
    """Return a description as Markdown on one line, in the language of the page."""
    return plain(localized(" ".join((text or "").split())))
