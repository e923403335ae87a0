"""Documented objects of installed packages, read from source files without importing them.

Docstrings and signatures are cut out of the source text, so that the result is the same with every
Python version. The output of `inspect` and `ast.unparse` differs between versions.
"""

import ast
import io
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePath
from typing import NamedTuple

LEFT_OUT = {"test", "tests"}
"""Folders whose modules are not read."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class DocumentedObject(NamedTuple):
    """Class, function or method with a docstring.

    Args:
        module: dotted name of the module.
        name: qualified name, beginning with the name of the module.
        docstring: docstring without indentation.
        signature: "(parameters) -> result" for a function, "(bases)" for a class, or "".
    """

    module: str
    name: str
    docstring: str
    signature: str


def distribution_modules(name: str) -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, path) of every module of an installed distribution, sorted by name,
    without tests.

    Nothing is yielded if the distribution is not installed.
    """
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return
    for file in sorted(files, key=lambda file: file.parts):
        if file.suffix == ".py" and ".." not in file.parts and not _is_test(file):
            parts = file.with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), Path(str(file.locate()))


def documented_objects(modules: Iterable[tuple[str, Path]]) -> Iterator[DocumentedObject]:
    """Yield the objects with docstrings in modules, in source order.

    Files that cannot be read or parsed are skipped.

    Args:
        modules: (dotted name, path) of each module.
    """
    for module, path in modules:
        try:
            source = read_source(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                tree = ast.parse(source)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        yield from _objects(tree, [line.encode() for line in source.split("\n")], module, module)


def read_source(path: Path) -> str:
    """Return the text of a Python file, decoded as the file declares, with LF line ends.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: the file declares an unknown encoding.
        ValueError: the content is invalid in the declared encoding.
    """
    content = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def clean_docstring(text: str) -> str:
    """Return a docstring without common indentation and without surrounding white space (PEP
    257).
    """
    first, *rest = text.expandtabs().split("\n")
    indents = [len(line) - len(line.lstrip(" ")) for line in rest if line.strip()]
    indent = min(indents, default=0)
    return "\n".join([first, *(line[indent:] for line in rest)]).strip()


def _objects(
    tree: ast.AST, lines: list[bytes], module: str, prefix: str
) -> Iterator[DocumentedObject]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            name = f"{prefix}.{node.name}"
            if docstring := clean_docstring(ast.get_docstring(node, clean=False) or ""):
                yield DocumentedObject(module, name, docstring, _signature(node, lines))
            yield from _objects(node, lines, module, name)


def _signature(node: Definition, lines: list[bytes]) -> str:
    if isinstance(node, ast.ClassDef):
        bases = [_text(base, lines) for base in node.bases]
        return f"({', '.join(bases)})" if bases else ""
    returns = f" -> {_text(node.returns, lines)}" if node.returns else ""
    return f"({', '.join(_parameters(node.args, lines))}){returns}"


def _parameters(arguments: ast.arguments, lines: list[bytes]) -> Iterator[str]:
    """Yield each parameter as written in a signature, including the separators "/" and "*"."""
    positional = [*arguments.posonlyargs, *arguments.args]
    n_required = len(positional) - len(arguments.defaults)
    for number, argument in enumerate(positional, 1):
        default = arguments.defaults[number - 1 - n_required] if number > n_required else None
        yield _parameter(argument, default, lines)
        if number == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{_parameter(arguments.vararg, None, lines)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default, lines)
    if arguments.kwarg:
        yield f"**{_parameter(arguments.kwarg, None, lines)}"


def _parameter(argument: ast.arg, default: ast.expr | None, lines: list[bytes]) -> str:
    annotation = f": {_text(argument.annotation, lines)}" if argument.annotation else ""
    equals = " = " if annotation else "="
    return f"{argument.arg}{annotation}" + (f"{equals}{_text(default, lines)}" if default else "")


def _text(node: ast.expr, lines: list[bytes]) -> str:
    """Return the source text of an expression as one line.

    Args:
        lines: lines of the source in UTF-8, the encoding in which `ast` counts columns.
    """
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    parts = lines[node.lineno - 1 : node.end_lineno]
    parts[-1] = parts[-1][: node.end_col_offset]
    parts[0] = parts[0][node.col_offset :]
    return " ".join(b"\n".join(parts).decode().split())


def _is_test(file: PurePath) -> bool:
    return bool(
        LEFT_OUT & set(file.parts) or file.stem.startswith("test_") or file.stem.endswith("_test")
    )
