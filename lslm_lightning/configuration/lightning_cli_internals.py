"""Private names of Lightning and jsonargparse that the parser of experiments depends on.

They are used here and nowhere else in this folder. `SEEN` has the versions that they were last
checked with, `PRIVATE` the names, and a test asks whether each still exists.
"""

from argparse import Action
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric import connector
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.trainer.connectors.accelerator_connector import _AcceleratorConnector

from lslm_lightning.types import JsonObject

CallbackT = TypeVar("CallbackT", bound=Callback)
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
    EarlyStopping: ("_check_on_train_epoch_end",),
    ModelCheckpoint: ("_save_on_train_epoch_end",),
    _AcceleratorConnector: ("is_distributed",),
}


class HookedCLI(LightningCLI):
    """LightningCLI whose private hooks have public names."""

    @property
    def settings(self) -> Namespace:
        """Parsed settings of the subcommand."""
        return self.config[str(self.subcommand)]

    @property
    def built_settings(self) -> Namespace:
        """Settings of the subcommand with their classes built."""
        return self.config_init[str(self.subcommand)]

    def subcommand_parser(self) -> LightningArgumentParser:
        """Return the parser of the subcommand's settings."""
        return self._parser(str(self.subcommand))

    def check_seed(self) -> None:
        """Check `seed_everything`, before all random generators are seeded with it."""

    def run_job(self, subcommand: str) -> None:
        """Run the subcommand with the model and data that were built."""
        super()._run_subcommand(subcommand)

    def method_arguments(self, subcommand: str) -> JsonObject:
        """Return arguments for the Trainer's method besides those of the config."""
        return {}

    def _parse_ckpt_path(self) -> None:
        """Skip the reading of hyperparameters from a checkpoint, since ours hold none."""

    def _set_seed(self) -> None:
        self.check_seed()
        super()._set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_job(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> JsonObject:
        return super()._prepare_subcommand_kwargs(subcommand) | self.method_arguments(subcommand)


class UnabbreviatedParser(LightningArgumentParser):
    """LightningCLI's parser, whose options cannot be shortened.

    What looks for `--config` among the arguments would not find a short form.
    """

    def _get_option_tuples(self, option_string: str) -> list[tuple[Action, str, str | None]]:
        """Return no candidates for a shortened option; `-cFILE` is none."""
        return [] if option_string.startswith("--") else super()._get_option_tuples(option_string)


def argument_names(parser: ArgumentParser) -> list[str]:
    """Return the dotted name of every argument of a parser, without those of subcommands."""
    return [action.dest for action in parser._actions]


def all_argument_names(parser: ArgumentParser) -> Iterator[str]:
    """Yield the dotted name of every argument of a parser and its subcommands."""
    for action in parser._actions:
        yield action.dest
        if isinstance(action.choices, dict):
            for inner in action.choices.values():
                yield from all_argument_names(inner)


def checks_at_epoch_end(callback: Callback) -> bool:
    """Return whether a Lightning callback is set to run at the end of each training epoch."""
    names = ("_check_on_train_epoch_end", "_save_on_train_epoch_end")
    return any(getattr(callback, name, None) is True for name in names)


@dataclass(frozen=True)
class ChosenDevices:
    """Devices that settings of a Trainer choose on this machine."""

    device: torch.device  # that this process would use
    n_device: int  # on each machine


def chosen_devices(
    accelerator: str,
    devices: list[int] | str | int,
    num_nodes: int,
    strategy: str = "auto",
    precision: PrecisionInput | None = None,
) -> ChosenDevices:
    """Return the devices that settings of a Trainer choose, without building a Trainer.

    Raises:
        MisconfigurationException, ValueError, RuntimeError: this machine has no such devices, or
            Lightning refuses the settings.
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


def callbacks_of(trainer: Trainer, kind: type[CallbackT]) -> list[CallbackT]:
    """Return the callbacks of a class that a Trainer has."""
    callbacks: list[Callback] = getattr(trainer, "callbacks")  # noqa: B009 (set by a connector)
    return [each for each in callbacks if isinstance(each, kind)]


def callback_of(trainer: Trainer, kind: type[CallbackT]) -> CallbackT:
    """Return the first callback of a class that a Trainer has; it must have one."""
    return callbacks_of(trainer, kind)[0]


def process_rank() -> int:
    """Return the rank of this process among those of the job; 0 before it is known."""
    rank: int | None = getattr(rank_zero_only, "rank", None)
    return rank or 0
