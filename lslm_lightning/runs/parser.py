"""jsonargparse, configured to read and write YAML as the rest of the project does."""

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_dumper, set_loader

from lslm_lightning.text.yaml_files import ParserLoader, dump_yaml, parse_yaml
from lslm_lightning.types import Json

__all__ = ["ArgumentError", "ArgumentParser", "load_for_parser"]


def load_for_parser(text: str) -> Json:
    """Parse YAML for jsonargparse; texts of the form `{a, b}` or `a:` are returned unchanged, as it
    expects.
    """
    value = parse_yaml(text, ParserLoader)
    if isinstance(value, dict) and value and all(inner is None for inner in value.values()):
        names = set(text.strip(" {}").replace(" ", "").split(","))
        if names == set(value) or text.strip() in {f"{name}:" for name in value}:
            return text
    return value


set_loader("yaml", load_for_parser, (yaml.YAMLError,))
set_dumper("yaml", dump_yaml)
