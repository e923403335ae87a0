"""Validation of a task: its loss over the whole split, and the conditions of its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer

from lslm_lightning.decoding import AnySearch
from lslm_lightning.evaluation.evaluation_set import evaluation_set
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.token_gradients import check_finite
from lslm_lightning.training.trainer_access import data_of

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task


class Validation:
    """Loss and logged values of a validation; a subclass logs more values.

    Args:
        task: the task that is validated; its `validation_loss` holds the sums.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    # What a subclass may change

    def values(self, nats: float, n_token: int, data: TaskData) -> dict[str, float]:
        """Return the values to log by name, given the total loss over the split and its number of
        target tokens; the loss is in nats per token.
        """
        return {"val/loss": nats / max(1, n_token)}

    def names(self, data: TaskData) -> list[str]:
        """Return the names of all values that a validation on these data logs. A metric that is
        undefined is not logged.
        """
        examples = data.validation_examples()
        metrics = self.task.answering.all_metrics(examples[0].language) if examples else []
        return ["val/loss", *(f"val/{metric.name}" for metric in metrics)]

    # Sums

    def start(self, trainer: Trainer) -> None:
        """Set the sums to zero."""
        loss = self.task.validation_loss
        loss.reset()
        loss.n_alike = trainer.world_size // data_share(trainer)[1]
        loss.update(torch.zeros(()), 0)  # also where this process has no batch

    def totals(self) -> tuple[float, int]:
        """Return nats and target tokens over all ranks; the first call of a validation is
        collective.

        Raises:
            NotFiniteError: the loss is nan or infinite, on every rank.
        """
        self.task.validation_loss.compute()
        nats, n_token = self.task.validation_loss.totals
        check_finite(nats, self.task.global_step)
        return nats, n_token

    # Conditions

    def conditions(self, trainer: Trainer) -> dict[str, str]:
        """Return what decides the value of `monitor` besides the weights, by name; two values
        compare only if all of it is equal. Empty if the Trainer does not validate.
        """
        task = self.task
        data = data_of(trainer)
        limit = trainer.limit_val_batches
        if not limit:
            return {}
        examples = data.validation_examples()
        metrics = task.answering.all_metrics(examples[0].language) if examples else []
        signatures = {f"val/{metric.name}": metric.signature for metric in metrics}
        if task.monitor in signatures:
            limits = {"min_length": task.min_length, "max_length": task.max_length}
            search = [
                search_settings(task.validation_search or task.search),
                *(f"{name}={value}" for name, value in limits.items() if value is not None),
                task.answering.signature(data.mode),
            ]
            measure = {
                "metric": f"{task.monitor} {signatures[task.monitor]}",
                "search": " ".join(search).strip(),
            }
        else:
            examples = list(data.examples("val"))
            is_whole = isinstance(limit, float) and limit == 1.0
            part = "all" if is_whole else f"{limit} on {data_share(trainer)[1]} processes"
            measure = {"metric": task.monitor, "batches": part}
        digest = evaluation_set(examples).digest
        return {**measure, "examples": f"{len(examples)} with digest {digest}"}


def search_settings(search: AnySearch | None) -> str:
    """Return the class of a search with its plain settings, such as "Beam(beam_size=5)"; an empty
    string for None.
    """
    if search is None:
        return ""
    plain = (
        f"{name}={value}"
        for name, value in vars(search).items()
        if isinstance(value, int | float | str)
    )
    return f"{type(search).__name__}({', '.join(plain)})"
