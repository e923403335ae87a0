"""Validation of a task: its loss over the whole split, and the conditions of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.decoding import AnySearch
from lslm_lightning.evaluation.evaluation_set import evaluation_set
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.lightning_internals import data_of
from lslm_lightning.training.token_gradients import check_finite

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task


class Validation:
    """Computes the values that a validation logs, the loss first; a subclass may add values.

    Args:
        task: the task that is validated; its `validation_loss` holds the sums.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    # What a subclass may change

    def values(self, nats: float, n_token: int, data: TaskData) -> dict[str, float]:
        """Return the values to log besides `val/loss`, by name.

        Args:
            nats: total loss over the split in nats.
            n_token: number of target tokens of the split.
            data: data module that was validated on.
        """
        return {}

    def names(self, data: TaskData) -> list[str]:
        """Return the names of all values that a validation on these data may log. A metric whose
        value is undefined is not logged.
        """
        return ["val/loss", *self.metrics(data.validation_examples())]

    def metrics(self, examples: Sequence[Example]) -> dict[str, Metric]:
        """Return the metrics that score answers to these examples, by the name under which a
        validation logs them, such as "val/bleu".
        """
        return {f"val/{metric.name}": metric for metric in self.task.answering.metrics_of(examples)}

    # Sums

    def start(self, trainer: Trainer) -> None:
        """Set the sums to zero before a validation."""
        loss = self.task.validation_loss
        loss.reset()
        loss.n_alike = trainer.world_size // data_share(trainer)[1]
        loss.update(torch.zeros(()), 0)  # also where this process has no batch

    def totals(self) -> tuple[float, int]:
        """Return (total loss in nats, number of target tokens) over all ranks. The first call in a
        validation is collective.

        Raises:
            NotFiniteError: the loss is nan or infinite; raised on every rank.
        """
        self.task.validation_loss.compute()
        nats, n_token = self.task.validation_loss.totals
        check_finite(nats, self.task.global_step)
        return nats, n_token

    # Conditions

    def conditions(self, trainer: Trainer) -> dict[str, str]:
        """Return the settings besides the weights that decide the value of `monitor`, as text by
        name. Two values are comparable only if all these settings are equal. Empty if the Trainer
        does not validate.
        """
        task = self.task
        data = data_of(trainer)
        limit = trainer.limit_val_batches
        if not limit:
            return {}
        examples = data.validation_examples()
        metric = self.metrics(examples).get(task.monitor)
        if metric is not None:
            limits = {"min_length": task.min_length, "max_length": task.max_length}
            search = [
                search_settings(task.validation_search or task.search),
                *(f"{name}={value}" for name, value in limits.items() if value is not None),
                task.answering.signature(data.mode),
            ]
            measure = {
                "metric": f"{task.monitor} {metric.signature}",
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
    """Return the class and the plain settings of a search, such as "Beam(beam_size=5)"; "" for
    None.
    """
    if search is None:
        return ""
    plain = (
        f"{name}={value}"
        for name, value in vars(search).items()
        if isinstance(value, int | float | str)
    )
    return f"{type(search).__name__}({', '.join(plain)})"
