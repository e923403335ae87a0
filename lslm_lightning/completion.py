"""Completion of `lslm` command lines in a shell: commands, options, settings, and names of configs,
corpora and runs.

A shell with completion by argcomplete starts `lslm` with the variable `_ARGCOMPLETE`. Everything is
found in source code and files; torch is not imported.
"""

import argparse
import ast
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.lexers import split_line

from lslm_lightning.commands.arguments import Parser

if TYPE_CHECKING:
    from lslm_lightning.configuration.given_settings import Given

Names = Callable[[], Iterable[str]]

WIDTH = 70  # of a description, which zsh and fish show
WITHOUT_PARSER = "training"  # module of the commands whose arguments are settings alone
WITH_SETTINGS = ("training", "resume", "plan", "verify_resume", "evaluate", "sweep")
FLAGS = {
    "print_config": "show all settings and stop",
    "trust": "let the config.yaml of another's run name any class",
    "debug": "show where an error was raised",
}
TASK, DATA, NETWORK = (  # whose settings are offered before a config names other classes
    "lslm_lightning.training.task.Task",
    "lslm_lightning.training.pair_data.PairData",
    "lslm_lightning.models.transformer.Transformer",
)


def complete(commands: Mapping[str, tuple[str, str]]) -> NoReturn:
    """Answer a shell with the completions of its command line, and exit.

    Args:
        commands: module and summary of each command, by name.
    """
    start = int(os.environ["_ARGCOMPLETE"])
    _, word, _, before, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    words = before[start:]
    if words[:1] == ["help"] or not words:
        parser = parser_of_commands(commands)
    else:
        parser = parser_for(words, word, commands)
    # the words before it are the program's name to argcomplete
    os.environ["_ARGCOMPLETE"] = str(start + bool(words))
    argcomplete.autocomplete(parser, always_complete_options="long")
    raise SystemExit(1)


def parser_of_commands(commands: Mapping[str, tuple[str, str]]) -> argparse.ArgumentParser:
    """Return a parser that takes the name of a command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="store_true", help="version of lslm-lightning")
    names = parser.add_subparsers()
    for name, (_, summary) in commands.items():
        names.add_parser(name, help=summary)
    return parser


def parser_for(
    words: Sequence[str], word: str, commands: Mapping[str, tuple[str, str]]
) -> argparse.ArgumentParser:
    """Return the parser of a command, with those settings that may complete a word.

    Args:
        words: words before the one to complete, the name of the command first.
        word: beginning of the word to complete.
        commands: module and summary of each command, by name.
    """
    name, _ = commands.get(words[0], ("", ""))
    if not name:
        return argparse.ArgumentParser()
    parser: argparse.ArgumentParser = Parser()
    if name == WITHOUT_PARSER:
        parser.add_argument("-c", "--config", metavar="FILE", help="YAML; several are merged")
        for flag, meaning in FLAGS.items():
            parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    else:
        parser = parser_of(name, words[0])
    if name in WITH_SETTINGS:
        add_settings(parser, words, word)
    offer_names(parser)
    return parser


class ParsingError(BaseException):
    """Error that ends a command where it would parse its arguments.

    Args:
        parser: parser that the command has built.
    """

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


def parser_of(module: str, command: str) -> Parser:
    """Return the parser that a command builds first of all."""

    def refuse(self: Parser, *arguments: object) -> NoReturn:
        """Raise the parser instead of parsing anything."""
        raise ParsingError(self)

    commands = import_module(f"lslm_lightning.commands.{module}")
    before = Parser.parse_known_args
    Parser.parse_known_args = refuse  # type: ignore[assignment,method-assign]
    try:
        commands.main([command])
    except ParsingError as error:
        return error.parser
    finally:
        Parser.parse_known_args = before  # type: ignore[method-assign]
    raise AssertionError(f"lslm {command} parses nothing")


def add_settings(parser: argparse.ArgumentParser, words: Sequence[str], word: str) -> None:
    """Add options for the settings typed so far and for those that a word may become.

    Args:
        words: words before the one to complete, the name of the command first.
        word: beginning of the word to complete.
    """
    complete_words = [*words, word] if "=" in word else words
    typed = [each.partition("=")[0] for each in complete_words if each.startswith("--")]
    is_option = word.startswith("--")
    if not typed and not is_option:
        return
    given = given_by(words)
    wanted = dict.fromkeys(typed, "")
    if is_option:
        wanted |= {f"--{name}": meaning for name, meaning in settings_like(given, word[2:])}
    known = parser._option_string_actions
    for option, meaning in wanted.items():
        if option in known:
            continue
        short = textwrap.shorten(meaning, WIDTH, placeholder=" ...").replace("%", "%%")
        action = parser.add_argument(option, help=short)
        offer(action, partial(values_of, given, option[2:]))


def given_by(words: Sequence[str]) -> "Given":
    """Return the settings that the readable config files and options on a command line give."""
    from lslm_lightning.configuration.config_files import TOP, yaml_of
    from lslm_lightning.configuration.example_configs import example_config
    from lslm_lightning.configuration.given_settings import Given
    from lslm_lightning.experiments.evaluation_spec import KEYS
    from lslm_lightning.long_options import long_options

    given = Given(KEYS if words[0] == "evaluate" else TOP)
    given.classes |= {"model": TASK, "data": DATA, "model.backbone": NETWORK}
    options = [(option.name, option.value) for option in long_options(words)]
    if words[0] == "resume":
        options = [("config", os.path.join(word, "config.yaml")) for word in words[1:]] + options
    for name, value in options:
        with suppress(Exception, SystemExit):  # what is wrong is told when the command runs
            if name == "config" and value:
                content = yaml_of(example_config(value) or Path(value))
                base = content.get("base") if isinstance(content, dict) else None
                given.take("", base or content, "")
            elif value:
                given.take_option(name, value)
    return given


def settings_like(given: "Given", beginning: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the meaning of each setting that continues a name by one part.

    A setting that has settings itself comes twice, once with a dot at its end.

    Args:
        given: settings of the command line.
        beginning: beginning of a dotted name, without dashes.
    """
    from lslm_lightning.configuration.signatures import settings_of

    setting, dot, part = beginning.rpartition(".")
    if dot:
        path = given.class_at(setting)
        found = {each.name: each.meaning for each in (settings_of(path) if path else None) or ()}
    else:
        found = dict.fromkeys(given.known, "")
    for name, meaning in found.items():
        if name.startswith(part):
            whole = f"{setting}{dot}{name}"
            yield whole, meaning
            if given.class_at(whole):
                yield f"{whole}.", meaning


def values_of(given: "Given", name: str) -> Iterable[str]:
    """Return the values that a setting may have, as far as its type or the catalogue tells.

    Args:
        given: settings of the command line.
        name: dotted name of the setting.
    """
    from lslm_lightning.configuration.signatures import settings_of

    if name == "data.corpus":
        return corpora()
    if name == "ckpt_path":
        return [str(path) for path in Path("runs").glob("*/*/checkpoints/*.ckpt")]
    outer, _, last = name.rpartition(".")
    path = given.class_at(outer)
    for setting in (settings_of(path) if path else None) or ():
        if setting.name == last:
            literals = re.findall(r"Literal\[(.*?)\]", setting.type)
            values = [value for each in literals for value in ast.literal_eval(f"({each},)")]
            return values + ["true", "false"] * bool(re.search(r"\bbool\b", setting.type))
    return ()


def offer_names(parser: argparse.ArgumentParser) -> None:
    """Offer names of configs, runs and corpora where the arguments of a command take them."""
    for action in parser._actions:
        if action.dest == "config":
            offer(action, configs)
        elif action.dest in ("run", "runs"):
            offer(action, runs)
        elif isinstance(action, argparse._SubParsersAction):  # of lslm data
            for inner in action.choices.values():
                for argument in inner._actions:
                    if argument.dest == "name":
                        offer(argument, corpora)


def offer(action: argparse.Action, names: Names) -> None:
    """Complete the value of an argument by names and by files."""

    def completions(prefix: str, **_: object) -> list[str]:
        """Return names and files that begin with `prefix`."""
        return [name for name in (*names(), *FilesCompleter()(prefix)) if name.startswith(prefix)]

    action.completer = completions  # type: ignore[attr-defined]


def configs() -> list[str]:
    """Return the names of the example configs."""
    from lslm_lightning.configuration.example_configs import example_names

    return [str(name) for name in example_names()]


def corpora() -> list[str]:
    """Return the names of the corpora in the catalogue."""
    from lslm_lightning.corpora.catalogue import read_catalogue

    return [*read_catalogue()]


def runs() -> list[str]:
    """Return the run directories below `runs`, the newest first."""
    found = [path.parent for path in Path("runs").glob("*/*/config.yaml")]
    return [str(path) for path in sorted(found, key=os.path.getmtime, reverse=True)]
