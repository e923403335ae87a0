"""Early checks of the config files and YAML values on a command line."""

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import yaml

from lslm_lightning.configuration.example_configs import example_names
from lslm_lightning.long_options import option_values
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.text.yaml_files import MeaningError, ParserLoader, parse_yaml, read_yaml
from lslm_lightning.types import Json

TOP = ("seed_everything", "trainer", "model", "data", "job", "ckpt_path")


FILES: ContextVar[tuple[Path, ...]] = ContextVar("FILES", default=())  # of the parsed command


SUFFIXES = (".yaml", ".yml", ".json")


def check_files(argv: Sequence[str], known: Sequence[str] = TOP) -> dict[str, Json]:
    """Check every config file and every YAML value on a command line before the parser reads them,
    and return the contents of the config files by their paths as given.

    The parser's own messages would not name the file and the line.

    Args:
        argv: arguments of the command.
        known: keys of a config, for messages; if empty, dots are allowed in them.

    Raises:
        ValueError: a file is missing, is not UTF-8 or YAML, or has no keys, or one with a dot; or
            some YAML contains a key twice, or another type where text is required.
    """
    given = option_values(argv)
    add_working_directory([value for _, value in given])
    files: list[Path] = []
    configs: dict[str, Json] = {}
    for name, value in given:
        if name == "config":
            configs[value] = _checked_file(Path(value), known)
            files.append(Path(value))
        elif value.endswith(SUFFIXES) and Path(value).is_file():
            yaml_of(Path(value))
            files.append(Path(value))
        elif value.lstrip().startswith(("{", "[")):
            _check_inline(name, value)
    FILES.set(tuple(files))
    return configs


def _check_inline(option: str, value: str) -> None:
    """Refuse a YAML value on the command line that contains a key twice, or another type where text
    is required.

    Args:
        option: name of the option that the value belongs to.
    """
    try:
        parse_yaml(f"{option.rpartition('.')[2]}: {value}", ParserLoader)
    except MeaningError as error:
        raise ValueError(f"--{option} {value}: {error.problem}") from None
    except yaml.YAMLError:
        pass  # the parser says what it should have been


def yaml_of(path: Path, loader: type = ParserLoader) -> Json:
    """Return the parsed content of a YAML file; errors are explained for users.

    Args:
        loader: YAML loader class.

    Raises:
        ValueError: the file is missing, is not UTF-8 or YAML, contains a key twice, or has another
            type where text is required.
    """
    try:
        content = read_yaml(path, f"config {path}", loader)
    except FileNotFoundError:
        suggestion = did_you_mean(path, [*Path("configs").glob("*/*.yaml"), *example_names()])
        raise ValueError(f"config {path} does not exist{suggestion}") from None
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from None
    add_working_directory(content)
    return content


def _checked_file(path: Path, known: Sequence[str]) -> Json:
    """Return the content of a config file, which must be readable YAML with keys.

    Args:
        known: keys of a config, for messages; if empty, dots are allowed in them.
    """
    config = yaml_of(path)
    for value in nested_texts(config):
        if value.endswith(SUFFIXES) and (inner := Path(value)).is_file():
            yaml_of(inner)
    if not isinstance(config, dict):
        keys = f"keys such as {', '.join(known)}" if known else "keys"
        raise ValueError(
            f"config {path} must hold {keys}, but is "
            f"{'empty' if config is None else type(config).__name__}"
        )
    if dotted := next((key for key in config if known and "." in str(key)), None):
        outer, _, name = str(dotted).partition(".")
        raise ValueError(f"config {path}: {dotted!r} has a dot; write {name} below {outer}")
    return config


def nested_texts(value: object) -> Iterator[str]:
    """Yield every string in a value of nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from nested_texts(inner)
