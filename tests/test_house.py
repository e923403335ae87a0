"""Laws of the source: commands are thin, and no files import each other in a circle."""

import ast
import graphlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("lslm_lightning", "tasks", "docs")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
COMMANDS = [file for file in FILES if file.parent.name == "commands"]
MOST_LINES = 2150  # of all commands


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


# Words

RELATIVE = "What|Of|That|Those|As|By|Where|How|From|At|In|Whether"  # openings of a docstring
# metaphors, in names and in texts: the field has words of its own for each
BANNED = re.compile(
    r"exams?|examinations?|ladders?|rungs?|climb(s|ed|ing)?|doctors?|doubts?|judges?|verdicts?"
    r"|crown(s|ed)?|rehears\w+|lend|lent|borrow\w*|strangers?|hints?|remember(ed|s)?|voices?",
    re.IGNORECASE,
)
# files that must name what there was
EXEMPT = {"renamed.py"}
MOST_ANY = 40


def words_of(identifier: str) -> list[str]:
    """Return the words of a name: `LastHTTPWord_of` is last, http, word, of."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)


def definitions(tree: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the classes and functions of a tree, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of all that a file defines: classes, functions, arguments,
    variables, attributes.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def at(file: Path, line: int, text: str) -> str:
    """Return a place that an editor can open, and what is there."""
    return f"{file.relative_to(ROOT)}:{line}: {text}"


def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    wrong = []
    for file in FILES:
        for node in (tree_of(file), *definitions(tree_of(file))):
            docstring = ast.get_docstring(node) or ""
            if re.match(rf"({RELATIVE})\b", docstring):
                wrong.append(at(file, getattr(node, "lineno", 1), docstring.splitlines()[0]))
    assert not wrong, "\n".join(wrong)


def test_lines_fit_in_100_columns() -> None:
    sources = [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
    too_long = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sources
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if len(line) > 100
    ]
    assert not too_long, too_long


def test_names_are_words_of_the_field() -> None:
    wrong = [
        at(file, line, name)
        for file in FILES
        if file.name not in EXEMPT
        for line, name in names_in(tree_of(file))
        if any(map(BANNED.fullmatch, words_of(name)))
    ]
    assert not wrong, "\n".join(wrong)


def test_texts_are_in_words_of_the_field() -> None:
    wrong = []
    for file in FILES:
        if file.name in EXEMPT:
            continue
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for match in re.finditer(rf"\b({BANNED.pattern})\b", node.value, re.IGNORECASE):
                    wrong.append(at(file, node.lineno, match[0]))
    assert not wrong, "\n".join(wrong)


def test_no_class_name_is_defined_twice() -> None:
    defined: dict[str, list[str]] = {}
    for file in FILES:
        for node in definitions(tree_of(file)):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(at(file, node.lineno, node.name))
    twice = [place for places in defined.values() if len(places) > 1 for place in places]
    assert not twice, "\n".join(twice)


def test_types_say_what_they_are() -> None:
    places = [
        at(file, node.lineno, "Any")
        for file in FILES
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    assert len(places) <= MOST_ANY, "\n".join(places)


def test_no_constructor_hides_its_arguments() -> None:
    tunnels = [
        at(file, node.lineno, f"{owner.name}(**{kwargs.arg})")
        for file in FILES
        for owner in definitions(tree_of(file))
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__new__")
        if (kwargs := node.args.kwarg) is not None
        if kwargs.annotation is None or ast.unparse(kwargs.annotation) == "Any"
    ]
    assert not tunnels, "\n".join(tunnels)
