"""Secrets of a run's config.yaml, given back to a command that parses it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.hidden_settings import masked, reveal
from lslm_lightning.safety.redaction import MASK
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml


def with_secrets(argv: Sequence[str]) -> list[str]:
    """Return the words of a command, after each config.yaml of a run those that set what it hides.

    They are for the parser of this process. A word that the user gave comes later, and counts.

    Raises:
        ValueError: a hidden setting is known neither from the run's secrets.json nor from the words.
    """
    words = []
    for i, word in enumerate(argv):
        words.append(word)
        is_value = i > 0 and argv[i - 1] in ("--config", "-c")
        if is_value or word.startswith("--config="):
            path = Path(word.removeprefix("--config="))
            words += hidden_words(path, argv) if path.name == "config.yaml" else []
    return words


def hidden_words(path: Path, argv: Sequence[str]) -> list[str]:
    """Return the words that set what a config.yaml hides."""
    config = read_yaml(path, loader=ParserLoader)
    names = list(masked(config))
    left = reveal(config, RunDirectory(path.parent).secrets)
    given = {without_init_args(word.partition("=")[0].lstrip("-")) for word in argv if word.startswith("--")}
    words, lacking = {}, []
    for name in names:
        setting, value = up_to_list(config, name)
        if name not in left and not (isinstance(value, str) and MASK in value):
            words[setting] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        elif name in left and without_init_args(setting) not in given:
            lacking.append(f"--{without_init_args(setting)}")
    if lacking:
        options = ", ".join(dict.fromkeys(lacking))
        raise ValueError(f"{path} hides secrets that are not on this disk; give each by its option: {options}")
    return [f"--{setting}={value}" for setting, value in words.items()]


def up_to_list(config: Any, name: str) -> tuple[str, Any]:
    """Return the setting that a command line can set, and its value: of what is in a list, the list."""
    above = []
    for key in name.split("."):
        if not isinstance(config, dict):
            break
        above.append(key)
        config = config[key]
    return ".".join(above), config


def without_init_args(name: str) -> str:
    """Return the name of a setting as it may be given in a shell."""
    return name.replace(".init_args.", ".")
