"""Checks of command-line arguments and config files without importing torch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import yaml

from lslm_lightning.configuration.config_files import SUFFIXES, TOP, check_files, yaml_of
from lslm_lightning.configuration.errors import (
    missing_settings,
    no_such_name,
    unknown_name,
)
from lslm_lightning.configuration.signatures import settings_of
from lslm_lightning.configuration.source_tree import LASTING, first_missing
from lslm_lightning.configuration.subcommands import TRAINED
from lslm_lightning.corpora.lookup import check_corpus_name
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.long_options import long_options
from lslm_lightning.runs.own_code import is_import_path
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.task_package import NAMES
from lslm_lightning.text.yaml_files import TEXTS, ParserLoader, parse_yaml
from lslm_lightning.types import Json, JsonObject, Settings

FIXED = {  # blocks of a config whose class is always the same
    "trainer": "lslm_lightning.configuration.job.JobTrainer",
    "job": "lslm_lightning.configuration.job.Job",
}
OPTIONS = ("config", "print_config", "print_shtab", "help", "seeds", "trust", "debug")
OURS = (
    "lslm_lightning.",
    *(f"{name}." for name in NAMES),
)  # packages whose modules define all their names in their source
TOKENIZER_FILE = "lslm_lightning.text.recipes.TokenizerFile"


class Given:
    """Settings given by config files and options, collected in the order in which the parser reads
    them.

    Args:
        known: keys allowed at the top level of a config.
    """

    def __init__(self, known: Sequence[str] = TOP) -> None:
        self.known = known
        self.classes = dict(FIXED)  # of each setting that is a class, its import path
        self.values: JsonObject = {}
        self.configs: Mapping[str, Json] = {}  # contents of the config files, by path as given

    def take_arguments(self, arguments: Sequence[str], configs: Mapping[str, Json]) -> None:
        """Check and collect all settings of a command line, including its config files.

        Args:
            configs: result of `check_files`.

        Raises:
            ValueError: a setting or a class does not exist; the message suggests the most similar
                one.
        """
        self.configs = configs
        for option in long_options(arguments):
            if option.name == "config":
                if option.value is None:
                    raise ValueError("--config needs the name of a file: --config FILE")
                self.take("", configs[option.value], f"config {option.value}: ")
            elif not option.name.endswith("help"):
                self.take_option(option.name, option.value)

    def take_option(self, option: str, value: str | None) -> None:
        """Check each part of an option's dotted name, and collect its value.

        Args:
            value: text of the value or path of a YAML file; None for an option without a value.
        """
        parts = [part for part in option.removesuffix("+").split(".") if part != "init_args"]
        if "dict_kwargs" in parts:
            return
        names = [name for name in parts if name != "class_path"]
        self.check_name("", ".".join(names), "", OPTIONS)
        for i, name in enumerate(names[1:], 1):
            self.check_name(".".join(names[:i]), name, "")
        if value is None:
            return
        if value.endswith(SUFFIXES) and os.path.isfile(value):
            content = yaml_of(Path(value))
        else:
            content = parsed(value)
        self.take(".".join(names), content, "")

    def take(self, setting: str, value: Json, where: str) -> None:
        """Collect the value of a setting, and check the setting and class names in it.

        Args:
            setting: dotted name of the setting; "" for a whole config.
            where: prefix of error messages.

        Raises:
            ValueError: a setting or a class does not exist; the message suggests the most similar
                one.
        """
        self.values[setting] = value
        if isinstance(value, Mapping):
            self.take_mapping(setting, value, where)
        elif isinstance(value, list):
            for inner in value:
                self.take(setting, inner, where)
        elif (
            isinstance(value, str)
            and is_import_path(value)
            and setting.rpartition(".")[2] not in TEXTS
        ):
            self.take_class(setting, value, where)
        elif setting not in FIXED:
            self.classes[setting] = ""  # a short name, or null: what it takes is not known here

    def take_mapping(self, setting: str, value: Settings, where: str) -> None:
        """Collect a mapping: either a class with its arguments, or named settings.

        Args:
            setting: dotted name of the setting; "" for a whole config.
            where: prefix of error messages.
        """
        if isinstance(value.get("class_path"), str):
            self.take(setting, value["class_path"], where)
        elif setting in ("", *FIXED):
            self.take_names(setting, value, where)
        if isinstance(value.get("init_args"), Mapping):
            self.take_names(setting, value["init_args"], where)
        elif not setting or "class_path" in value:
            return
        elif setting not in self.classes:  # `systems`, say, which are classes by name
            for name, inner in value.items():
                if isinstance(inner, Mapping) and "class_path" in inner:
                    self.take(f"{setting}.{name}", inner, where)

    def take_names(self, setting: str, value: Settings, where: str) -> None:
        """Check and collect the named settings in a mapping.

        Args:
            setting: dotted name of the setting; "" for a whole config.
            where: prefix of error messages.
        """
        for name, inner in value.items():
            path = [
                part
                for part in str(name).removesuffix("+").split(".")
                if part not in ("init_args", "class_path")
            ]
            if "dict_kwargs" in path:
                continue
            for i, part in enumerate(path):
                self.check_name(".".join(filter(None, [setting, *path[:i]])), part, where)
            self.take(".".join(filter(None, [setting, *path])), inner, where)

    def take_class(self, setting: str, path: str, where: str) -> None:
        """Record the class of a setting. A class of this project, torch or Lightning must exist.

        Args:
            setting: dotted name of the setting.
            path: import path of the class.
            where: prefix of error messages.
        """
        self.classes[setting] = path
        if (
            path.startswith(LASTING)
            and not setting.startswith("job.")
            and (missing := first_missing(path))
        ):
            raise ValueError(f"{where}{no_such_name(setting, path, *missing)}")

    def check_name(self, setting: str, name: str, where: str, also: Sequence[str] = ()) -> None:
        """Raise ValueError if the class of a setting does not accept an argument called `name`.

        Args:
            setting: dotted name of the enclosing setting; "" for the top level.
            where: prefix of error messages.
            also: additional names allowed at the top level.
        """
        if not setting:
            known: Sequence[str] | None = [*self.known, *also]
            path = "" if also else "a config"
        else:
            path = self.class_at(setting)
            settings = settings_of(path) if path else None
            known = None if settings is None else [each.name for each in settings]
        if known is not None and (name if setting else name.partition(".")[0]) not in known:
            shown = "" if setting in FIXED else path
            raise ValueError(f"{where}{unknown_name(setting, name, known, shown)}")

    def class_at(self, setting: str) -> str:
        """Return the import path of a setting's class, given or by default; "" if unknown."""
        if setting in self.classes or "." not in setting:
            return self.classes.get(setting, "")
        outer, _, name = setting.rpartition(".")
        path = self.class_at(outer)
        settings = (settings_of(path) if path else None) or ()
        return next((each.default_class for each in settings if each.name == name), "")

    def check_paths(self, command: str) -> None:
        """Check that the files and corpora that the settings of a command name exist.

        Raises:
            ValueError: the corpus is neither on this machine nor known, or a checkpoint is needed
                and none is given.
            FileNotFoundError: a file does not exist.
        """
        check_checkpoint_given(command, self.values.get("ckpt_path"))
        recipe, path = (self.values.get(f"data.tokenizer{name}") for name in ("", ".path"))
        kind = self.classes.get("data.tokenizer")
        if (
            recipe is not None
            and kind == TOKENIZER_FILE
            and isinstance(path, str)
            and not Path(path).exists()
        ):
            raise FileNotFoundError(
                f"data.tokenizer.path={path} does not exist{did_you_mean(path)}"
            )
        corpus = self.values.get("data.corpus")
        if isinstance(corpus, str) and self.classes.get("data", "").startswith(OURS):
            check_corpus_name(corpus, self.values.get("data.columns") or {})

    def check_complete(self) -> None:
        """Check that a model and data are given.

        Raises:
            SettingsError: the model or the data is missing.
        """
        started = {setting.partition(".")[0] for setting in self.values}
        if missing := [name for name in ("data", "model") if name not in started]:
            refuse(missing_settings(missing))


def check_checkpoint_given(command: str, path: Json) -> None:
    """Check that a command has the checkpoint that it needs, and that a given checkpoint exists.

    Args:
        path: value of the setting `ckpt_path`, which should be text; None if not set.

    Raises:
        ValueError: the command needs a checkpoint and none is given.
        FileNotFoundError: the checkpoint does not exist.
    """
    if path in (None, "", "null"):
        if command in TRAINED:
            raise ValueError(
                f"lslm {command} needs --ckpt_path runs/<task>/<run>/checkpoints/best.ckpt; "
                "without it the weights are random"
            )
    elif not Path(str(path)).exists():
        others = Path("runs").glob("*/*/checkpoints/*.ckpt")
        near = (
            did_you_mean(str(path), others) or "; checkpoints lie in runs/<task>/<run>/checkpoints"
        )
        raise FileNotFoundError(f"ckpt_path={path} does not exist{near}")


def check_given(arguments: Sequence[str], known: Sequence[str] = TOP) -> Given:
    """Check the names, classes and files in the arguments of a command, and return the collected
    settings.

    Args:
        known: keys allowed at the top level of a config.

    Raises:
        SettingsError: a setting, class or file does not exist.
    """
    try:
        given = Given(known)
        given.take_arguments(arguments, check_files(arguments, known))
        return given
    except ValueError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """Raise `SettingsError` with a message."""
    raise SettingsError(message)


def parsed(value: str) -> Json:
    """Return a command-line value parsed as YAML if it is a list or a mapping; otherwise the text
    unchanged.
    """
    if not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return parse_yaml(value, ParserLoader)
    except (yaml.YAMLError, ValueError):  # the parser says what it should have been
        return value
