"""Access to attributes of a Trainer that Lightning sets without declaring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch import Callback, Trainer

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData


def data_of(trainer: Trainer) -> TaskData:
    """Return the data module of a Trainer, as a `TaskData`."""
    return trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning's data connector


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return the callbacks of a Trainer, in the order in which they are called."""
    return trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning's callback connector
