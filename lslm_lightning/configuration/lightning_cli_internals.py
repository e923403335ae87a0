"""Private names of Lightning and jsonargparse that the experiment parser depends on.

No other module of this folder uses private names. `SEEN` contains the versions that they were last
checked with, and `PRIVATE` the names; a test checks that each name still exists.
"""

from argparse import Action
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jsonargparse import DefaultHelpFormatter, Namespace
from lightning.fabric import connector
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.trainer.connectors.accelerator_connector import _AcceleratorConnector
from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector

from lslm_lightning.runs.parser import ArgumentParser
from lslm_lightning.training.lightning_internals import CallbackT, callbacks_of
from lslm_lightning.types import JsonObject

PrecisionInput: TypeAlias = connector._PRECISION_INPUT
SEEN = {"lightning": "2.6.6", "jsonargparse": "4.53.0"}
PRIVATE: dict[type, tuple[str, ...]] = {
    LightningCLI: (
        "_parser",
        "_parse_ckpt_path",
        "_set_seed",
        "_run_subcommand",
        "_prepare_subcommand_kwargs",
    ),
    LightningArgumentParser: ("_get_option_tuples",),
    DefaultHelpFormatter: ("_get_help_string",),
    EarlyStopping: ("_check_on_train_epoch_end",),
    ModelCheckpoint: ("_save_on_train_epoch_end",),
    _AcceleratorConnector: ("is_distributed",),
    _CallbackConnector: ("on_trainer_init",),
}


class HookedCLI(LightningCLI):
    """LightningCLI whose private hooks are available under public names."""

    subcommand: str

    @property
    def settings(self) -> Namespace:
        """Parsed settings of the subcommand."""
        return self.config[self.subcommand]

    @property
    def built_settings(self) -> Namespace:
        """Settings of the subcommand after their classes were instantiated."""
        return self.config_init[self.subcommand]

    def subcommand_parser(self) -> LightningArgumentParser:
        """Return the parser of the subcommand's settings."""
        return self._parser(self.subcommand)

    def parsed(self, arguments: Sequence[str], checks: bool = True) -> Namespace:
        """Return the settings that arguments give, with defaults.

        Args:
            arguments: arguments of the command line after the subcommand.
            checks: whether required and unknown settings and wrong values are refused.
        """
        parser = self.subcommand_parser()
        vars(parser).pop("parent_parser", None)  # which would print for --print_config in its place
        # the parser prints once it has read the next file, so the option comes after every file
        last = sorted(arguments, key=lambda given: given.partition("=")[0] == "--print_config")
        return parser.parse_args(last, _skip_validation=not checks)

    def parse_arguments(  # type: ignore[override]  # a list of arguments, never None
        self, parser: LightningArgumentParser, args: Sequence[str]
    ) -> None:
        """Parse the command line with the parser of the subcommand alone.

        The parser around it would parse and check all settings a second time.

        Args:
            parser: parser of all subcommands.
            args: arguments of the command line, the subcommand first.
        """
        self.config = Namespace({"subcommand": args[0], args[0]: self.parsed(args[1:])})

    def check_seed(self) -> None:
        """Check `seed_everything` before the random generators are seeded with it."""

    def run_job(self, subcommand: str) -> None:
        """Run the subcommand with the instantiated model and data."""
        super()._run_subcommand(subcommand)

    def method_arguments(self, subcommand: str) -> JsonObject:
        """Return keyword arguments for the Trainer's method that the config does not contain.

        Args:
            subcommand: name of the Trainer's method.
        """
        return {}

    def _parse_ckpt_path(self) -> None:
        """Do nothing, since this project's checkpoints contain no hyperparameters to read."""

    def _set_seed(self) -> None:
        self.check_seed()
        super()._set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_job(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> JsonObject:
        return super()._prepare_subcommand_kwargs(subcommand) | self.method_arguments(subcommand)


class DescribingFormatter(DefaultHelpFormatter):
    """Help formatter whose descriptions of settings can be replaced."""

    def described(self, name: str, meaning: str) -> str:
        """Return the description of a setting.

        Args:
            name: dotted name of the setting.
            meaning: description in the docstring.
        """
        return meaning

    def _get_help_string(self, action: Action) -> str:
        text = super()._get_help_string(action)
        given = action.help or ""
        return f"{self.described(action.dest, given)}{text.removeprefix(given)}" if given else text


class UnabbreviatedParser(LightningArgumentParser):
    """LightningCLI's parser without abbreviated options.

    Code that searches the arguments for `--config` would miss an abbreviation.
    """

    def _get_option_tuples(self, option_string: str) -> list[tuple[Action, str, str | None]]:
        """Return no candidates for an abbreviated long option; `-cFILE` still works."""
        return [] if option_string.startswith("--") else super()._get_option_tuples(option_string)


def argument_names(parser: ArgumentParser) -> list[str]:
    """Return the dotted name of every argument of a parser, without those of its subcommands."""
    return [action.dest for action in parser._actions]


def all_argument_names(parser: ArgumentParser) -> Iterator[str]:
    """Yield the dotted name of every argument of a parser and of its subcommands."""
    for action in parser._actions:
        yield action.dest
        if isinstance(action.choices, dict):
            for inner in action.choices.values():
                yield from all_argument_names(inner)


def checks_at_epoch_end(callback: Callback) -> bool:
    """Return whether a Lightning callback is configured to run at the end of each training
    epoch.
    """
    names = ("_check_on_train_epoch_end", "_save_on_train_epoch_end")
    return any(getattr(callback, name, None) is True for name in names)


@dataclass(frozen=True)
class ChosenDevices:
    """Devices that Trainer settings select on this machine."""

    device: torch.device  # that this process would use
    n_device: int  # on each machine


def chosen_devices(
    accelerator: str,
    devices: list[int] | str | int,
    num_nodes: int,
    strategy: str = "auto",
    precision: PrecisionInput | None = None,
) -> ChosenDevices:
    """Return the devices that Trainer settings select, without building a Trainer.

    Raises:
        MisconfigurationException, ValueError, RuntimeError: this machine does not have the devices,
            or Lightning refuses the settings.
    """
    connector = _AcceleratorConnector(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=precision,
    )
    found = connector.strategy
    parallel = found.parallel_devices if isinstance(found, ParallelStrategy) else None
    return ChosenDevices(found.root_device, 1 if parallel is None else len(parallel))


def set_callbacks(trainer: Trainer, callbacks: Sequence[Callback], has_bar: bool) -> None:
    """Give a Trainer other callbacks, which Lightning checks as in a Trainer's constructor.

    Raises:
        MisconfigurationException, RuntimeError: two callbacks exclude each other.
    """
    _CallbackConnector(trainer).on_trainer_init(
        callbacks=list(callbacks),
        enable_checkpointing=True,
        enable_progress_bar=has_bar,
        default_root_dir=None,
        enable_model_summary=False,
    )


def callback_of(trainer: Trainer, kind: type[CallbackT]) -> CallbackT:
    """Return the Trainer's first callback of a class; there must be one."""
    return callbacks_of(trainer, kind)[0]


def process_rank() -> int:
    """Return the rank of this process in the job; 0 while the rank is unknown."""
    rank: int | None = getattr(rank_zero_only, "rank", None)
    return rank or 0
