"""Secrets that are hidden in a run's config.yaml, and their restoration for the parser."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from lslm_lightning.long_options import long_options
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.hidden_settings import Keys, reveal
from lslm_lightning.safety.redaction import MASK
from lslm_lightning.text.yaml_files import ParserLoader, dump_yaml, parse_yaml
from lslm_lightning.types import Json


def check_secrets(argv: Sequence[str], configs: Mapping[str, Json]) -> None:
    """Refuse configs whose hidden secrets are neither in the run's secrets.json nor among the
    arguments.

    Args:
        configs: contents of the config files, which are modified, by their paths.

    Raises:
        ValueError: secrets are missing; the message names the settings.
    """
    given = {without_init_args(option.name) for option in long_options(argv)}
    for name, config in configs.items():
        missing = unknown_in(config, Path(name))
        hidden = [without_init_args(".".join(map(str, keys))) for keys in missing]
        if lacking := dict.fromkeys(f"--{each}" for each in hidden if each not in given):
            raise ValueError(
                f"{name} hides secrets that are not on this disk; give each by its option: "
                f"{', '.join(lacking)}"
            )


def revealed(content: str, path: Path) -> str:
    """Return the content of a config with its hidden secrets filled in from the run's secrets.json.

    Secrets missing from that file are left out; the command's arguments supply them.

    Args:
        content: YAML text of the config.
        path: path of the config.
    """
    if MASK not in content:
        return content
    config = parse_yaml(content, ParserLoader)
    for keys in unknown_in(config, path):
        inner = config
        for key in keys[:-1]:
            inner = inner.get(key, {})
        inner.pop(keys[-1], None)
    return dump_yaml(config)


def unknown_in(config: Json, path: Path) -> list[Keys]:
    """Fill in the hidden secrets of a config from the secrets.json in its folder.

    Args:
        config: parsed config, which is modified.
        path: path of the config.

    Returns:
        Keys of the secrets that remain hidden.
    """
    left = reveal(config, RunDirectory(path.resolve().parent).secrets)
    return [tuple(takewhile(lambda key: not isinstance(key, int), keys)) for keys in left]


def without_init_args(name: str) -> str:
    """Return the dotted name of a setting as typed on the command line, that is, without
    `init_args`.
    """
    return name.replace(".init_args.", ".")
