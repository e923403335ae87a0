"""Keys of configs: type, default and meaning, from signatures and docstrings."""

import re
from collections.abc import Iterable, Sequence

from docs.generate import sources
from docs.generate.language import localized
from docs.generate.markdown import code, paragraphs, plain, table
from lslm_lightning.configuration.class_help import block_settings, meaning_of
from lslm_lightning.configuration.class_index import classes_in, subclasses
from lslm_lightning.configuration.signatures import Setting, settings_of, summary_of
from lslm_lightning.configuration.source_tree import Definition

HEADINGS = ("key", "type", "default", "meaning")


def classes(base: str, package: str = "", level: str = "3") -> str:
    """Return a section for each class that can stand in a place of a config.

    Args:
        base: name of their base class; a module for all classes of that module.
        package: module or package that they must be in; "" for all.
        level: of the headings.
    """
    return "\n\n".join(section(each, int(level)) for each in shown(base, package))


def shown(base: str, package: str = "") -> list[Definition]:
    """Return the classes that `classes` describes.

    Raises:
        ValueError: there are none.
    """
    if "." in base:
        list(sources.modules_of(base))
        found = classes_in(base)
    else:
        sources.class_called(base)
        found = subclasses(base, package)
    if not found:
        raise ValueError(f"no class derives from {base} in {package or 'the project'}")
    return found


def section(definition: Definition, level: int) -> str:
    """Return the section of one class: import path, summary, and a table of its keys."""
    parts = [
        f"{'#' * level} {definition.node.name}",
        code(definition.path),
        paragraphs(summary_of(definition)),
    ]
    found = settings_of(definition.path)
    if found:
        parts.append(keys(found))
    elif found is not None:
        parts.append(localized("It has no keys."))
    return "\n\n".join(filter(None, parts))


def block(name: str) -> str:
    """Return the keys of the block `job` or `trainer` of a config."""
    return keys(block_settings(name))


def keys(found: Iterable[Setting]) -> str:
    """Return a table of keys."""
    return table(HEADINGS, map(row, found))


def row(setting: Setting) -> Sequence[str]:
    """Return the cells of one key."""
    default = setting.shown_default if setting.default is not None else "required"
    return (
        code(setting.name),
        code(setting.type if "Literal" in setting.type else re.sub("['\"]", "", setting.type)),
        localized(default) if default == "required" else code(default or '""'),
        plain(localized(meaning_of(setting))),
    )
