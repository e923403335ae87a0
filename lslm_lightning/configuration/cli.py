"""LightningCLI with this project's settings. All experiment configs are parsed by it."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lslm_lightning.configuration.allowance import TRUST, allowance
from lslm_lightning.configuration.class_help import block_settings, meaning_of, say
from lslm_lightning.configuration.errors import explain
from lslm_lightning.configuration.given_settings import FIXED, check_given
from lslm_lightning.configuration.hidden_settings import check_secrets, revealed
from lslm_lightning.configuration.job import TRAINER_DEFAULTS, Job, JobTrainer, task_name
from lslm_lightning.configuration.lightning_cli_internals import (
    DescribingFormatter,
    HookedCLI,
    UnabbreviatedParser,
)
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.parser import ArgumentError  # configures jsonargparse
from lslm_lightning.runs.trust import check_trust, is_restricted, resolve
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.yaml_files import parse_yaml
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject

DEFAULT_SEED = 0
LEVELS = {  # of loggers whose messages are for those who call Lightning themselves
    "torch.distributed.tensor._redistribute": logging.ERROR,  # how to sum a norm faster
    "lightning.pytorch": logging.WARNING,
    "lightning.fabric": logging.WARNING,
    "lightning.pytorch.utilities.rank_zero": logging.WARNING,
    "lightning.pytorch.accelerators.cuda": logging.WARNING,
}


class SettingsFormatter(DescribingFormatter):
    """Help formatter that describes settings as `lslm run --help CLASS` does: in the language of
    the interface, and those of the Trainer in the words of this project.
    """

    def described(self, name: str, meaning: str) -> str:
        block, _, key = name.partition(".")
        ours = {each.name: each for each in block_settings(block)} if block in FIXED else {}
        return say(meaning_of(ours[key]) if key in ours else " ".join(meaning.split()))


class ConfigParser(UnabbreviatedParser):
    """LightningCLI's parser with one-line error messages and without abbreviated options."""

    def parse_string(
        self,
        content: str,
        path: str | PathLike[str] = "",
        ext_vars: JsonObject | None = None,
        env: bool | None = None,
        defaults: bool = True,
        **private: bool,
    ) -> Namespace:
        """Parse the content of a config file. Secrets that were hidden as `***` when a run wrote it
        are filled in from the run's secrets.json first.

        jsonargparse calls this method with the config's folder as the working directory.

        Args:
            private: internal arguments of jsonargparse.
        """
        text = revealed(content, Path(path)) if path else content
        return super().parse_string(text, path, ext_vars, env, defaults, **private)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a parser error as `SettingsError`, with a one-line explanation.

        Args:
            message: error message of jsonargparse.
            ex: exception that caused it.
        """
        # the parser of a nested class: those around it add where it stands
        if not self.exit_on_error:
            raise ArgumentError(None, message) from ex
        raise SettingsError(explain(message, self))


class ExperimentCLI(HookedCLI):
    """LightningCLI with one subcommand, the block `job`, and the data's tokenizer linked to the
    model.

    Subclasses build objects from a config: a run, a plan, or the data of an evaluation.

    Args:
        arguments: arguments of the command line, the subcommand first.
    """

    model: Task
    datamodule: TaskData

    def __init__(self, arguments: Sequence[str]) -> None:
        self.subcommand = arguments[0]
        super().__init__(
            Task,
            TaskData,
            args=list(arguments),
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=JobTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            save_config_callback=None,
            seed_everything_default=DEFAULT_SEED,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_class=ConfigParser,
            parser_kwargs={"prog": "lslm", "formatter_class": SettingsFormatter},
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the chosen subcommand only, with the arguments that it skips, since building each
        parser is slow.
        """
        # left out, so that all know the same settings
        ours = {"verbose", "return_predictions", "weights_only"}
        inherited = {name: skip | ours for name, skip in LightningCLI.subcommands().items()}
        known = inherited | {"run": {"model", "datamodule"}}
        return {self.subcommand: known[self.subcommand]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the block `job`, and link the data's tokenizer to the model."""
        parser.add_class_arguments(Job, "job")
        parser.link_arguments(
            "data",
            "model.init_args.tokenizer",
            compute_fn=self._tokenizer_of,
            apply_on="instantiate",
        )

    def _tokenizer_of(self, data: TaskData) -> Tokenizer:
        """Return the tokenizer to build the model with."""
        return data.tokenizer

    @property
    def job(self) -> Job:
        """Settings of the block `job`."""
        return Job(**self.settings["job"].as_dict())

    @property
    def task_name(self) -> str:
        """Name of the task, which is also the name of the folder of its runs and of its MLflow
        experiment.
        """
        return task_name(resolve(self.settings["model"].class_path))

    def check_seed(self) -> None:
        """Check that `seed_everything` is a valid seed.

        Raises:
            ValueError: the seed is out of range.
        """
        seed = self.settings["seed_everything"]
        if seed is not None and not 0 <= seed < 2**32:
            raise ValueError(f"seed_everything={seed} must be between 0 and {2**32 - 1:,}")

    def check_settings(self) -> None:
        """Refuse untrusted classes and implausibly large numbers.

        Raises:
            ValueError: there is such a class or number.
        """
        if is_restricted():
            for name in ("model", "data", "trainer"):
                check_trust(self.settings[name])
        check_magnitudes(self.settings)

    def dumped(self, skip_default: bool = False) -> JsonObject:
        """Return the settings of the subcommand as in config.yaml, without the config files'
        names.

        Args:
            skip_default: leave out settings that have their default value.
        """
        text = self.subcommand_parser().dump(
            without_enums(self.settings),
            skip_none=False,
            skip_default=skip_default,
            skip_validation=True,  # they were checked when they were parsed
            skip_link_targets=True,
            format="yaml",
        )
        config: JsonObject = parse_yaml(text)
        config.pop("config", None)
        return config


class SettingsReader(ExperimentCLI):
    """LightningCLI that parses settings but builds nothing."""

    def before_instantiate_classes(self) -> None:
        """Skip the checks that come before building."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def run_job(self, subcommand: str) -> None:
        """Run nothing."""


@contextmanager
def checked_arguments(
    arguments: Sequence[str], resumed: RunDirectory | None = None
) -> Iterator[list[str]]:
    """Check the files and secrets that arguments name, and yield the arguments for the parser.

    Inside the body of the `with` statement, classes may be imported as `allowance` says.

    Args:
        arguments: arguments of a command that trains, evaluates or plans, the subcommand first.
        resumed: directory of the run that is resumed; None if none is.

    Raises:
        SettingsError: a file or a secret is missing or wrong.
        ValueError: a config names a class that is not trusted.
    """
    silence_library_logs()
    with allowance(arguments, resumed):
        try:
            check_secrets(arguments, check_given(arguments).configs)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        yield [argument for argument in arguments if argument != TRUST]


def read_settings(arguments: Sequence[str]) -> JsonObject:
    """Return the whole configuration that the arguments of a command give, as in config.yaml.

    Args:
        arguments: arguments of the command, the subcommand first: `["run", "--config",
            "mine.yaml"]`.

    Raises:
        SettingsError: the arguments are wrong.
        ValueError: a config names a class that is not trusted.
    """
    with checked_arguments(arguments) as checked:
        return SettingsReader(checked).dumped()


def without_enums(settings: Namespace) -> Namespace:
    """Return settings with each enum member replaced by its value, which YAML can represent."""
    return Namespace({name: enum_values(value) for name, value in vars(settings).items()})


def enum_values(setting: object) -> object:
    """Return a value with each enum member in it, however nested, replaced by the member's
    value.
    """
    if isinstance(setting, Namespace):
        return without_enums(setting)
    if isinstance(setting, dict):
        return {name: enum_values(value) for name, value in setting.items()}
    if isinstance(setting, list):
        return [enum_values(value) for value in setting]
    return setting.value if isinstance(setting, Enum) else setting


def silence_library_logs() -> None:
    """Silence log messages and warnings of Lightning and torch that are irrelevant to users of the
    commands.
    """
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*sync_dist.*")
    # keys and values, which training does not write into
    warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
