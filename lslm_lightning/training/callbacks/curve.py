"""Training curve: loss, learning rate and tokens per second over the steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lslm_lightning.training.accumulation import TrainingSums
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.token_gradients import check_finite, total_nats
from lslm_lightning.types import StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

# metrics that callbacks can monitor
CURVE = ("train/loss", "train/learning_rate", "train/tokens_per_second")
N_POINT = 10  # points of the curve of a run that is shorter than `trainer.log_every_n_steps`

Sums = tuple[float, int, int]  # loss, target tokens, target and source tokens


class TrainingCurve:
    """Training curve as a sequence of points, each of which covers the steps since the previous
    point.

    `train/loss` is the mean loss of these steps in nats per target token, with label smoothing if
    the task uses it. `train/tokens_per_second` is the number of source and target tokens, without
    padding, per second of training, without validations. Both cover all ranks.

    Attributes:
        n_token: number of source and target tokens of all ranks from the start of training to the
            last point.
        train_seconds: seconds of training up to the last point.
        latest: values of the last point by name.
        last_step: step of the last point.
        sums: loss and tokens of this rank since the last point.
        is_resumed: whether a saved state was loaded and training has not continued from it yet.
    """

    def __init__(self) -> None:
        self.n_token = 0
        self.train_seconds = 0.0
        self.latest: dict[str, float] = {}
        self.last_step = 0
        self.is_resumed = False
        self.sums = TrainingSums()
        self._spent = 0.0  # seconds since the last point, in the process before
        self._trainer: Trainer | None = None
        self.reset()

    @property
    def tokens_per_second(self) -> float | None:
        """Mean tokens per second of the whole training; None before the first point of
        the curve.
        """
        return self.n_token / self.train_seconds if self.train_seconds else None

    @property
    def n_token_restored(self) -> int:
        """Number of source and target tokens of all ranks up to the restored state, those after the
        last point included.
        """
        return self.n_token + self._carried[2]

    @property
    def seconds(self) -> float:
        """Seconds of training since the last point of the curve."""
        return max(1e-9, time.monotonic() - self._since)

    def reset(self) -> None:
        """Set the sums for the next point to zero, and start its clock."""
        self.sums.reset()
        self._carried: Sums = (0.0, 0, 0)  # sums of the process before
        self._since = time.monotonic()

    def start(self, trainer: Trainer) -> None:
        """Start a new curve, or continue the curve of a loaded state."""
        self._trainer = trainer
        if self.is_resumed:
            self._since = time.monotonic() - self._spent
        else:
            self.n_token = 0
            self.train_seconds = 0.0
            self.last_step = trainer.global_step
            self.reset()
        self.is_resumed = False

    def add(self, loss: Tensor | None, n_target: int, n_token: int) -> None:
        """Add a micro-batch.

        Args:
            loss: scalar loss; None for a model that is not trained by gradients.
            n_target: number of target tokens.
            n_token: number of target and source tokens.
        """
        self.sums.update(loss, n_target, n_token)

    def totals(self) -> Sums:
        """Return (loss, number of target tokens, number of target and source tokens) since the last
        point, summed over all ranks. Collective.
        """
        carried = torch.tensor(self._carried, dtype=torch.float64)
        if self._trainer is None or self._trainer.world_size == 1:
            totals = self.sums.own()
        else:
            sums = self.sums.clone()
            sums.n_alike = self._trainer.world_size // data_share(self._trainer)[1]
            sums.to(self._trainer.strategy.root_device)
            sums.update(None, 0, 0)  # needed even if there was no step
            totals = sums.compute()
        loss, n_target, n_token = (totals + carried).tolist()
        return loss, round(n_target), round(n_token)

    @staticmethod
    def has_point(trainer: TaskTrainer, task: Task) -> bool:
        """Return whether a point is due at this step, not considering the end of training."""
        every = trainer.log_every_n_steps
        step = trainer.global_step
        if not every:
            return False
        if step < every and (n_step := task.n_step) < every:
            return step % max(1, n_step // N_POINT) == 0
        return step % every == 0

    def log(self, trainer: Trainer, task: Task, sums: Sums) -> None:
        """Log a point of the curve.

        Args:
            sums: result of `totals`. Call it first: it waits for a GPU, and the clock is read here.
        """
        nats = total_nats(sums[0], trainer.accumulate_grad_batches)
        check_finite(nats, task.global_step, self.last_step)  # on a GPU it was not checked yet
        seconds = self.seconds
        self.train_seconds += seconds
        self.n_token += sums[2]
        self.latest |= self.publish(trainer, sums, seconds)
        for logger in trainer.loggers:
            logger.log_metrics(
                {**self.latest, "train/tokens": self.n_token}, step=trainer.global_step
            )
        self.last_step = trainer.global_step
        self.reset()

    def publish(
        self, trainer: Trainer, sums: Sums, seconds: float | None = None
    ) -> dict[str, float]:
        """Compute the means since the last point, set them as callback metrics, and return them by
        name.

        Args:
            sums: result of `totals`.
            seconds: seconds of training since the last point; up to now by default.
        """
        loss, n_target, n_token = sums
        seconds = self.seconds if seconds is None else seconds
        values: dict[str, float] = {}
        # the loss leads: MLflow's page of two runs begins with what was logged first
        if (rate := learning_rate(trainer)) is not None:
            nats = total_nats(loss, trainer.accumulate_grad_batches)
            values = {"train/loss": nats / max(1, n_target), "train/learning_rate": rate}
        values["train/tokens_per_second"] = n_token / seconds
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in values.items()}
        )
        return values

    def close(self, trainer: TaskTrainer, task: Task) -> None:
        """Log a point for the steps since the last one, if there are any. Collective."""
        sums = self.totals()
        if not sums[2]:
            return
        if trainer.log_every_n_steps:
            self.log(trainer, task, sums)
        else:
            self.publish(trainer, sums)
            self.train_seconds += time.monotonic() - self._since
            self.n_token += sums[2]
            self.reset()

    def state_dict(self) -> StateDict:
        """Return the state to save. It includes the sums since the last point, so that a resumed
        run logs the same next point. Collective.
        """
        loss, n_target, n_token = self.totals()
        return {
            "loss": loss,
            "target_tokens": n_target,
            "tokens": n_token,
            "seconds": time.monotonic() - self._since if n_token else 0.0,
            "n_token": self.n_token,
            "train_seconds": self.train_seconds,
            "last_step": self.last_step,
            "latest": dict(self.latest),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state that `state_dict` returned."""
        self._carried = (state["loss"], state["target_tokens"], state["tokens"])
        self.n_token = state["n_token"]
        self.train_seconds = state["train_seconds"]
        self.last_step = state["last_step"]
        self.latest = dict(state["latest"])
        self._spent = state["seconds"]
        self.is_resumed = True


def learning_rate(trainer: Trainer) -> float | None:
    """Return the learning rate of the next step; None for a model that is not trained by
    gradients.
    """
    rates = [
        group["lr"]
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        if "lr" in group
    ]
    return rates[0] if rates else None
