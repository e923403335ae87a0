"""What is wrong with a configuration, in one line: the innermost cause, its place, the nearest right word."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser

TOP = ("seed_everything", "trainer", "model", "data", "job", "ckpt_path", "weights_only", "verbose")
TELLING = r"does not accept|not accepted|must be|Unable to|No such|Problem with|nrecognized|required|Expected|not found|does not exist"


def check_files(argv: Sequence[str]) -> None:
    """Look at each `--config FILE` before the parser does, which would not name the file.

    Raises:
        ValueError: it is missing, no UTF-8, no YAML, or has a key at its top that means nothing.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith(("--config=", "-c=")) else [word])]
    for option, path in zip(words, words[1:], strict=False):
        if option in ("--config", "-c"):
            _check_file(Path(path))


def _check_file(path: Path) -> None:
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        near = get_close_matches(str(path), [str(p) for p in Path("configs").glob("*/*.yaml")], 1)
        raise ValueError(f"config {path} does not exist{f'; did you mean {near[0]}?' if near else ''}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"config {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"config {path} is not YAML{place}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"config {path} must hold keys such as model, data and trainer, but is {type(config).__name__}")
    for key in config:
        if key not in TOP:
            near = get_close_matches(str(key), TOP, 1)
            raise ValueError(f"config {path}: {key!r} is not known at the top{f'; did you mean {near[0]!r}?' if near else f'; known are {TOP}'}")


def explain(message: str, parser: ArgumentParser) -> str:
    """The one line of a parser's message, whose cause may stand deep inside a list of tried types."""
    lines = [line.strip(" -\t") for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(TELLING, line)]
    cause = (telling or lines or ["the configuration cannot be read"])[-1]
    if missing := re.search(r"following arguments are required: (.*)", cause):
        names = ", ".join(name.split(".")[-1] for name in missing[1].split(", "))
        return f"{names} must be given: lslm run --config FILE, where FILE sets them"
    unknown = re.search(r"(?:nrecognized arguments: |Key |Option |key )['\"]?(?:--)?([\w.]+)", cause)
    wrong = unknown[1].split(".")[-1] if unknown else ""
    near = get_close_matches(wrong, set(_names(parser)), 1, 0.6) if wrong else []
    place = re.search(r"[Kk]ey \"([\w.]+)\"", message)
    prefix = f"{place[1]}: " if place and place[1] not in cause else ""
    return f"{prefix}{cause}" + (f"; did you mean {near[0]!r}?" if near and near[0] not in cause.split("'") else "")


def _names(parser: ArgumentParser) -> Iterator[str]:
    """Every part of every key that the parser and its subcommands know."""
    for action in parser._actions:
        yield from action.dest.split(".")
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from _names(inner)


def cause_of(error: ValueError) -> str:
    """What a class said when it was built: jsonargparse wraps it in a list of all types that it tried."""
    found = re.search(r"Errors:\s+- (.*?)\s+- Expected a <class 'NoneType'>", str(error), re.DOTALL)
    return found[1] if found else str(error)
