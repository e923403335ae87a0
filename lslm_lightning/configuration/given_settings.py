"""What the arguments of a command set: names and paths that do not exist are told before torch is
imported.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from lslm_lightning.configuration.errors import (
    SUFFIXES,
    TOP,
    check_files,
    is_import_path,
    missing_settings,
    no_such_name,
    unknown_name,
    yaml_of,
)
from lslm_lightning.configuration.long_options import spelled_out
from lslm_lightning.configuration.signatures import LASTING, first_missing, settings_of
from lslm_lightning.data.corpora import check_corpus_name
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.task_package import NAMES
from lslm_lightning.text.yaml_files import TEXTS, ParserLoader, parse_yaml

FIXED = {  # blocks of a config whose class is always the same
    "trainer": "lslm_lightning.configuration.job.JobTrainer",
    "job": "lslm_lightning.configuration.job.Job",
}
OPTIONS = ("config", "print_config", "print_shtab", "help", "seeds", "trust", "debug")
OURS = (
    "lslm_lightning.",
    *(f"{name}." for name in NAMES),
)  # packages whose modules define all their names in their source
TOKENIZER_FILE = "lslm_lightning.text.recipes.Existing"


class Given:
    """Settings of config files and options in the order in which the parser reads them.

    Args:
        known: keys at the top of a config.
    """

    def __init__(self, known: Sequence[str] = TOP) -> None:
        self.known = known
        self.classes = dict(FIXED)  # of each setting that is a class, its import path
        self.values: dict[str, Any] = {}

    def take_words(self, words: Sequence[str]) -> None:
        """Take the config files and options of a command.

        Raises:
            ValueError: a setting or a class does not exist; with the nearest one that does.
        """
        for name, value in options_of(words):
            if name == "config" and value is None:
                raise ValueError("--config needs the name of a file: --config FILE")
            if name == "config":
                self.take("", yaml_of(Path(value)), f"config {value}: ")
            elif not name.endswith("help"):
                self.take_option(name, value)

    def take_option(self, option: str, value: str | None) -> None:
        """Check an option's name, part by part, and take its value."""
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

    def take(self, place: str, value: Any, where: str) -> None:
        """Take the value of a setting, and check the names and classes in it.

        Args:
            where: begins the messages.

        Raises:
            ValueError: a setting or a class does not exist; with the nearest one that does.
        """
        self.values[place] = value
        if isinstance(value, Mapping):
            self.take_mapping(place, value, where)
        elif isinstance(value, list):
            for inner in value:
                self.take(place, inner, where)
        elif (
            isinstance(value, str)
            and is_import_path(value)
            and place.rpartition(".")[2] not in TEXTS
        ):
            self.take_class(place, value, where)
        elif place not in FIXED:
            self.classes[place] = ""  # a short name, or null: what it takes is not known here

    def take_mapping(self, place: str, value: Mapping[str, Any], where: str) -> None:
        if isinstance(value.get("class_path"), str):
            self.take(place, value["class_path"], where)
        elif place in ("", *FIXED):
            self.take_names(place, value, where)
        if isinstance(value.get("init_args"), Mapping):
            self.take_names(place, value["init_args"], where)
        elif not place or "class_path" in value:
            return
        elif place not in self.classes:  # `systems`, say, which are classes by name
            for name, inner in value.items():
                if isinstance(inner, Mapping) and "class_path" in inner:
                    self.take(f"{place}.{name}", inner, where)

    def take_names(self, place: str, value: Mapping[str, Any], where: str) -> None:
        for name, inner in value.items():
            path = [
                part
                for part in str(name).removesuffix("+").split(".")
                if part not in ("init_args", "class_path")
            ]
            if "dict_kwargs" in path:
                continue
            for i, part in enumerate(path):
                self.check_name(".".join(filter(None, [place, *path[:i]])), part, where)
            self.take(".".join(filter(None, [place, *path])), inner, where)

    def take_class(self, place: str, path: str, where: str) -> None:
        """Note the class of a setting, which must exist where its package does not change."""
        self.classes[place] = path
        if (
            path.startswith(LASTING)
            and not place.startswith("job.")
            and (missing := first_missing(path))
        ):
            raise ValueError(f"{where}{no_such_name(place, path, *missing)}")

    def check_name(self, place: str, name: str, where: str, also: Sequence[str] = ()) -> None:
        """Refuse a setting that the class of a place does not have.

        Args:
            also: names at the top that no config has.
        """
        if not place:
            known: Sequence[str] | None = [*self.known, *also]
            path = ""
        else:
            path = self.class_at(place)
            settings = settings_of(path) if path else None
            known = None if settings is None else [setting.name for setting in settings]
        if known is not None and (name if place else name.partition(".")[0]) not in known:
            shown = "" if place in FIXED else path
            raise ValueError(f"{where}{unknown_name(place, name, known, shown)}")

    def class_at(self, place: str) -> str:
        """Return the import path of the class of a setting, given or by default; "" if unknown."""
        if place in self.classes or "." not in place:
            return self.classes.get(place, "")
        outer, _, name = place.rpartition(".")
        path = self.class_at(outer)
        settings = (settings_of(path) if path else None) or ()
        return next((each.default_class for each in settings if each.name == name), "")

    def check_paths(self) -> None:
        """Refuse paths of files and corpora that do not exist.

        Raises:
            ValueError: the corpus is neither here nor known.
            FileNotFoundError: there is no such file.
        """
        self.check_checkpoint()
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

    def check_checkpoint(self) -> None:
        path = self.values.get("ckpt_path")
        if isinstance(path, str) and not Path(path).exists():
            others = Path("runs").glob("*/*/checkpoints/*.ckpt")
            near = (
                did_you_mean(path, others) or "; checkpoints lie in runs/<task>/<run>/checkpoints"
            )
            raise FileNotFoundError(f"ckpt_path={path} does not exist{near}")

    def check_complete(self, command: str) -> None:
        """Refuse a command without model or data, and a test without weights.

        Raises:
            SettingsError: there is no model or no data.
            ValueError: there are no weights.
        """
        begun = {place.partition(".")[0] for place in self.values}
        if missing := [name for name in ("data", "model") if name not in begun]:
            refuse(missing_settings(missing))
        is_untrained = self.values.get("ckpt_path") in (None, "null")
        if command in ("validate", "test", "predict") and is_untrained:
            raise ValueError(no_checkpoint(command))


def no_checkpoint(command: str) -> str:
    """Return what is said where a command that trains nothing is given no weights."""
    way = "--ckpt_path runs/<task>/<run>/checkpoints/best.ckpt"
    return f"lslm {command} needs {way}; without it the weights are random"


def check_given(words: Sequence[str], known: Sequence[str] = TOP) -> Given:
    """Return what the arguments of a command set, where all its names, classes and files exist.

    Raises:
        SettingsError: one does not.
    """
    try:
        check_files(words, known)
        given = Given(known)
        given.take_words(words)
        return given
    except ValueError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """End the command for its wrong arguments."""
    raise SettingsError(message)


def options_of(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each option with its value; None where it has none."""
    words = spelled_out(words)
    for i, word in enumerate(words):
        if not word.startswith("--") or word == "--":
            continue
        name, mark, value = word.removeprefix("--").partition("=")
        if mark:
            yield name, value
        elif i + 1 < len(words) and not words[i + 1].startswith("--"):
            yield name, words[i + 1]
        else:
            yield name, None


def parsed(value: str) -> Any:
    """Return what a value of the command line says; itself where it is no collection."""
    if not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return parse_yaml(value, ParserLoader)
    except (yaml.YAMLError, ValueError):  # the parser says what it should have been
        return value
