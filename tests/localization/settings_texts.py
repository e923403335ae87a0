"""All texts that help on settings can show, from the code that shows them."""

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

from docs.generate import MARKER, settings
from lslm_lightning.configuration import class_help, help
from lslm_lightning.configuration.class_help import (
    PLACES,
    block_settings,
    first_sentence,
    meaning_of,
)
from lslm_lightning.configuration.class_index import subclasses
from lslm_lightning.configuration.given_settings import FIXED
from lslm_lightning.configuration.help import HelpSection
from lslm_lightning.configuration.signatures import settings_of, summary_of
from lslm_lightning.configuration.source_tree import Definition, definition_of
from tests.support.documents import PAGES, SITE

NAME = re.compile(r"\w+")
LIBRARIES = tuple(  # classes of others that the pages name
    f"lightning.pytorch.callbacks.{name}" for name in ("EarlyStopping", "LearningRateMonitor")
)


def settings_texts() -> list[str]:
    """Return the texts in the order in which they are written, each once."""
    found = [*texts_said(help), *texts_said(class_help), *texts_of_sections()]
    found += class_help.OPTIMIZERS.values()
    for block in FIXED:
        found += map(meaning_of, block_settings(block))
    for each in nameable():
        found += [summary_of(each), first_sentence(each)]
        found += map(meaning_of, settings_of(each.path) or ())
    return list(dict.fromkeys(filter(None, found)))


def texts_of_sections() -> Iterator[str]:
    """Yield titles and descriptions of the sections of `lslm run --help`."""
    for value in vars(help).values():
        if isinstance(value, HelpSection):
            yield from (value.title, *value.rows.values())
    for texts in (help.OPTIONS, help.MORE, help.SUMMARIES):
        yield from texts.values()


def texts_said(module: ModuleType) -> Iterator[str]:
    """Yield the literal texts that a module translates; a value in one becomes a field."""
    source = ast.parse(inspect.getsource(module))
    names = {"resume from this checkpoint", "checkpoint to load (required)"}
    for node in ast.walk(source):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "say":
            given = node.args[0]
            if isinstance(given, ast.Constant):
                yield given.value
            elif isinstance(given, ast.JoinedStr):
                yield as_template(given)
        elif isinstance(node, ast.Constant) and node.value in names:
            yield node.value
        elif isinstance(node, ast.JoinedStr) and "seed of weights" in ast.unparse(node):
            yield as_template(node)


def as_template(node: ast.JoinedStr) -> str:
    """Return a formatted string as the template of its translation."""
    parts = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(part.value)
        elif isinstance(part, ast.FormattedValue):
            parts.append(f"{{{re.findall(NAME, ast.unparse(part.value))[-1]}}}")
    return "".join(parts)


def nameable() -> list[Definition]:
    """Return the classes that configs can name: those on the pages, and some of libraries."""
    found = {}
    for page in PAGES:
        for marker in MARKER.findall((SITE / "en" / page).read_text("utf-8")):
            name, *arguments = marker.split()
            if name == "settings":
                found |= {each.path: each for each in settings.shown(*arguments[:2])}
    for base, package in PLACES.values():
        found |= {each.path: each for each in subclasses(base, package)}
    for path in LIBRARIES:
        definition = definition_of(path)
        assert definition is not None, path
        found[path] = definition
    return list(found.values())
