"""Replacement of old names of settings and classes on a command line."""

import json
from collections.abc import Sequence

from lslm_lightning.long_options import long_options
from lslm_lightning.renamed import renamed_key, renamed_value
from lslm_lightning.text.yaml_files import ParserLoader, parse_yaml

Setting = tuple[str, str]  # what holds it, and its name


def renamed_arguments(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with old names of settings and classes replaced by new ones.

    Args:
        arguments: arguments of a command. Options may be written `--data.exam_tokens 4096` or
            `--data.exam_tokens=4096`; other arguments are returned unchanged.
    """
    new = list(arguments)
    for name, value, i, value_i in long_options(arguments):
        key, setting = renamed_key(name, "")
        if key != name:
            new[i] = f"--{key}{new[i][2 + len(name) :]}"
        if value is not None:
            new[value_i] = new[value_i].removesuffix(value) + _renamed_text(value, setting)
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
