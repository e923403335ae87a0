"""Commands and their options, from the parsers."""

import argparse
import re
from collections.abc import Iterator, Sequence

from docs.generate.language import localized
from docs.generate.markdown import block, code, plain, table
from lslm_lightning.__main__ import COMMANDS
from lslm_lightning.completion import WITHOUT_PARSER, parser_of
from lslm_lightning.configuration.help import help_of
from lslm_lightning.localization import COMMANDS as HELP
from lslm_lightning.localization import translated
from lslm_lightning.localization.filled_text import filled_text

DEFAULT = re.compile(r" ?[(（](?:default|默认)[:：]? ?(?:%\(default\)s|[^)）]*)[)）]$")
WIDTH = 100  # of examples and lists in two columns


def command(name: str) -> str:
    """Return the text on a command: what it does, examples, options.

    Raises:
        ValueError: there is no such command.
    """
    if name not in COMMANDS:
        raise ValueError(f"lslm has no command {name}: a page names it; was it renamed?")
    module, _ = COMMANDS[name]
    if module == WITHOUT_PARSER:
        return block(help_of(name), "none")
    return "\n\n".join(sections(parser_of(module, name), 3))


def sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yield the parts of the text on a parser: description with examples, options by group, and the
    same of its subcommands.
    """
    usage = re.sub(r"^\w+(: *|：)", "", parser.format_usage())
    yield block(" ".join(usage.split()))
    yield from prose_and_examples(translated(parser.description or "", HELP))
    for group in parser._action_groups:
        actions = [each for each in group._group_actions if is_shown(each)]
        if actions:
            title = {"positional arguments": "Arguments", "options": "Options"}.get(
                str(group.title), str(group.title)
            )
            yield f"**{plain(localized(title))}**"
            if group.description:
                yield plain(translated(group.description, HELP))
            yield table(("option", "default", "meaning"), map(row, actions))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield f"{'#' * level} {inner.prog}"
                yield from sections(inner, level + 1)


def is_shown(action: argparse.Action) -> bool:
    """Return whether an action is an option that help texts show, other than --help."""
    other = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not other and action.help != argparse.SUPPRESS


def row(action: argparse.Action) -> Sequence[str]:
    """Return the cells of one option."""
    names = action.option_strings or [str(action.metavar or action.dest)]
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else None)
    if value is None and action.nargs != 0:
        value = action.dest.upper()
    shown = f" {value}" if action.option_strings and action.nargs != 0 else ""
    is_given = action.nargs != 0 and action.default not in (None, argparse.SUPPRESS, {}, [])
    meaning = translated(action.help or "", HELP)
    if is_given:  # the column beside it has it
        meaning = DEFAULT.sub("", meaning)
    return (
        code(f"{', '.join(names)}{shown}"),
        code(str(action.default)) if is_given else "",
        plain(meaning),
    )


def prose_and_examples(description: str) -> Iterator[str]:
    """Yield the paragraphs of a description; its indented lines are examples, shown as code."""
    for part in re.split(r"\n\s*\n", description):
        lines = part.splitlines()
        if lines and all(line.startswith("  ") for line in lines):
            yield block(filled_text(part, WIDTH), "none")
        elif lines:
            first = next((i for i, line in enumerate(lines) if line.startswith("  ")), len(lines))
            yield plain(translated(" ".join(line.strip() for line in lines[:first]), HELP))
            if first < len(lines):
                yield block(filled_text("\n".join(lines[first:]), WIDTH), "none")
