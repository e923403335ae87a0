"""Files of a run and of a report, from where the code defines them."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from docs.generate import sources
from docs.generate.language import localized
from docs.generate.markdown import code, plain, table
from lslm_lightning.configuration.signatures import fields_of, meanings_of, order_of
from lslm_lightning.configuration.source_tree import tree_of
from lslm_lightning.runs.directory import RunDirectory

NO_FILE = ("checkpoint",)  # members of RunDirectory that are not files of their own


def paths() -> str:
    """Return a table of the files of a run directory."""
    root = Path("RUN")
    rows = []
    for name, member in vars(RunDirectory).items():
        if not isinstance(member, property) or not member.fget or name.startswith("_"):
            continue
        if member.fget.__annotations__["return"] is Path:
            value = member.fget(RunDirectory(root))
            about = localized(opened((member.__doc__ or "").strip()))
            folder = "" if value.suffix else "/"
            rows.append((code(f"{value.relative_to(root)}{folder}"), plain(about)))
    return table(("file", "contents"), rows)


def opened(docstring: str) -> str:
    """Return a docstring on one line, without the words that open one about a path."""
    text = " ".join(docstring.split())
    for opening in ("Path of the ", "Folder of the ", "Path of "):
        if text.startswith(opening):
            text = text.removeprefix(opening)
            return text[:1].upper() + text[1:]
    return text


def fields(name: str) -> str:
    """Return a table of the fields of a dataclass or named tuple, which are keys in JSON.

    Raises:
        ValueError: the project has no class of this name.
    """
    definition = sources.class_called(name)
    order = tuple(order_of(definition))
    found = fields_of([each for each in order if each is not None]) or ()
    meanings = meanings_of(definition.node)
    rows = [
        (code(each.name), code(each.type), plain(localized(meanings.get(each.name, each.meaning))))
        for each in found
    ]
    return table(("key", "type", "meaning"), rows)


def record(function: str, *classes: str) -> str:
    """Return a table of the keys of the JSON object that a function writes, from its source.

    Args:
        function: name of a function that assigns a dictionary literal to `record`.
        classes: names of classes whose docstrings say what the values are, besides the function's.

    Raises:
        ValueError: no function of this name does.
    """
    for module in sources.modules_of("lslm_lightning"):
        node = sources.function_at(module, function)
        for each in ast.walk(node) if node is not None else ():
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "record":
                nodes = (node, *(sources.class_called(name).node for name in classes))
                meanings = {k: v for each in nodes if each for k, v in meanings_of(each).items()}
                return table(("key", "value"), record_rows(each.value, meanings))
    raise ValueError(f"no {function} assigns a dictionary to `record`: a page names it")


def record_rows(
    node: ast.expr, meanings: Mapping[str, str], prefix: str = ""
) -> list[tuple[str, str]]:
    """Return the rows on a dictionary literal and those inside it.

    Args:
        meanings: descriptions of variables and attributes, by name.
        prefix: path of the dictionary in the whole record.
    """
    rows: list[tuple[str, str]] = []
    if not isinstance(node, ast.Dict):
        return rows
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant):
            continue
        name = prefix + str(key.value)
        inner = value.value if isinstance(value, ast.DictComp) else value
        if isinstance(inner, ast.Dict):
            inside = f"{name}.NAME." if isinstance(value, ast.DictComp) else f"{name}."
            rows += record_rows(inner, meanings, inside)
        else:
            names = re.findall(r"\w+", ast.unparse(inner))
            about = next((meanings[each] for each in names if each in meanings), "")
            rows.append((code(name), plain(localized(about))))
    return rows


def report_sections(*packages: str) -> str:
    """Return a table of the sections that reports can have, from the functions that build them."""
    found: dict[str, tuple[int, str]] = {}
    for package in packages:
        for module in sources.modules_of(package):
            tree = tree_of(module)
            for node in ast.walk(tree) if tree is not None else ():
                if not isinstance(node, ast.FunctionDef):
                    continue
                own = titles(node)
                about = about_section(ast.get_docstring(node) or "")
                for title in own:  # described best by the function that builds nothing else
                    before = found.get(title, (MANY, ""))
                    if len(own) < before[0] or not before[1]:
                        found[title] = (len(own) if about else MANY, about)
    rows = [
        (plain(localized(title)), plain(localized(about)))
        for title, (_, about) in sorted(found.items())
    ]
    return table(("section", "contents"), rows)


def titles(function: ast.FunctionDef) -> list[str]:
    """Return the titles of sections that a function builds."""
    calls = [
        node.args[0]
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Section") and node.args
    ]
    return [
        title.value
        for title in calls
        if isinstance(title, ast.Constant) and isinstance(title.value, str)
    ]


MANY = 99  # sections of one function, more than there are
OPENING = re.compile(
    r"((Return|Build|Yield) )?((an?|the) )?(report )?(sections? )?(of an evaluation: )?"
    r"(\"[^\"]*\"[:,]? ?)?((of|with|on|for|that lists|that compares) )?"
)
ENDING = re.compile(r"(; (None|an empty list) [^.;]*|, in a list(, for a run's report)?)")


def about_section(docstring: str) -> str:
    """Return what a section shows, from the docstring of the function that builds it; "" where it
    gives only the title.
    """
    text = " ".join(docstring.partition("\n\n")[0].split())
    text = ENDING.sub("", OPENING.sub("", text, count=1)).strip("; .")
    return f"{text[:1].upper()}{text[1:]}." if text and not text.startswith("and") else ""
