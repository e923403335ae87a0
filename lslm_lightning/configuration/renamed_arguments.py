"""Replacement of old names of settings and classes on a command line."""

import json
from collections.abc import Sequence

from lslm_lightning.renamed import renamed_key, renamed_value
from lslm_lightning.text.yaml_files import ParserLoader, parse_yaml

Setting = tuple[str, str]  # what holds it, and its name


def renamed_arguments(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with old names of settings and classes replaced by new ones.

    Args:
        arguments: arguments of a command. Options may be written `--data.exam_tokens 4096` or
            `--data.exam_tokens=4096`; other arguments are returned unchanged.
    """
    new: list[str] = []
    waiting: Setting | None = None  # the option whose value may follow
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            key, setting = renamed_key(name, "")
            waiting = None if equals else setting
            new.append(f"--{key}={_renamed_text(value, setting)}" if equals else f"--{key}")
        elif waiting is not None:
            new.append(_renamed_text(argument, waiting))
            waiting = None
        else:
            new.append(argument)
    return new


def _renamed_text(text: str, setting: Setting) -> str:
    """Return the value of an option with old names replaced by new ones; unchanged if it contains
    none.

    Args:
        setting: setting that the value belongs to.
    """
    if not text.lstrip().startswith(("{", "[")):
        return str(renamed_value(text, setting))
    try:
        parsed = parse_yaml(text, ParserLoader)
    except Exception:  # the parser says what is wrong
        return text
    new = renamed_value(parsed, setting)
    return text if new == parsed else json.dumps(new, ensure_ascii=False)
