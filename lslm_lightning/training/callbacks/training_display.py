"""Display of a training's progress: its steps, loss and speed, and the time left."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from lslm_lightning.training.callbacks.curve import TrainingCurve
from lslm_lightning.training.display import Display
from lslm_lightning.training.distributed.collectives import copy_in_background, is_asynchronous
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.lightning_internals import (
    TaskTrainer,
    callbacks_of,
    steps_per_validation,
)
from lslm_lightning.training.token_gradients import total_nats
from lslm_lightning.training.work import TrainingWork

if TYPE_CHECKING:
    from torch.cuda import Event

    from lslm_lightning.training.task import Task

# how often the loss between two points of the curve is read for display
LOOK_EVERY_SECONDS = 1.0
FEW_STEPS = 10  # with fewer, the last point of the curve is shown instead of their loss


class TrainingDisplay:
    """Shows the progress of a training on a display.

    Between two points of the training curve, loss and speed come from the batches of this rank
    alone, and no step waits for a GPU to get them.

    Args:
        display: display on which the progress is shown.
        curve: training curve, which provides the losses.

    Attributes:
        work: progress of the current training; None if it is not shown.
    """

    def __init__(self, display: Display, curve: TrainingCurve) -> None:
        self.display = display
        self.curve = curve
        self.work: TrainingWork | None = None
        self._n_micro = 0  # micro-batches of the step under way
        self._looked = -math.inf
        self._validated_step: int | None = None
        # a loss that is on its way from a GPU, and its target tokens
        self._awaited: tuple[Tensor, Event, int] | None = None

    def start(self, trainer: TaskTrainer, task: Task) -> None:
        """Start to show the progress of a training."""
        if task.one_pass:
            work = TrainingWork(0, finite(trainer.num_training_batches), what="batch")
        else:
            work = TrainingWork(trainer.global_step, task.n_step, steps_per_validation(trainer))
        work.loss = self.curve.latest.get("train/loss")
        timers = [timer.time_remaining() for timer in callbacks_of(trainer, Timer)]
        if ends := [seconds for seconds in timers if seconds is not None]:
            work.deadline = time.monotonic() + min(ends)
        self.work = work
        self._n_micro = 0
        self._awaited = None
        self._looked = -math.inf
        self.display.show(work, lasting=True)

    def update(self, trainer: TaskTrainer, task: Task, batch_idx: int, is_step: bool) -> None:
        """Show progress after a micro-batch.

        Args:
            batch_idx: number of the micro-batch in the epoch.
            is_step: whether the micro-batch completed an optimizer step.
        """
        work = self.work
        if work is None:
            return
        self._n_micro = 0 if is_step else self._n_micro + 1
        now = time.monotonic()
        is_first = work.done < 1 + work.start <= trainer.global_step
        if task.one_pass:
            work.update(batch_idx + 1)
        else:
            work.total = task.n_step  # a budget in minutes may change it
            work.update(trainer.global_step + self._n_micro / trainer.accumulate_grad_batches)
        if is_first or now - self._looked >= LOOK_EVERY_SECONDS:
            self._looked = now
            self.look(trainer)
        if is_first:
            self.display.print(work)
        else:
            self.display.tell(work)

    def look(self, trainer: Trainer) -> None:
        """Update the loss and speed to show, from the steps since the last point of the curve,
        without waiting for a GPU.
        """
        work = self.work
        if work is None:
            return
        latest = self.curve.latest
        n_token = int(self.curve.sums.n_token)
        is_new = "train/loss" not in latest
        if n_token and (is_new or trainer.global_step - self.curve.last_step >= FEW_STEPS):
            n_share = data_share(trainer)[1] if trainer.world_size > 1 else 1
            work.tokens_per_second = n_share * n_token / self.curve.seconds
            if (arrived := self.own_loss()) is not None:
                loss, n_target = arrived
                nats = total_nats(loss, trainer.accumulate_grad_batches)
                work.loss = nats / max(1, n_target)
        else:
            work.loss = latest.get("train/loss", work.loss)
            work.tokens_per_second = latest.get("train/tokens_per_second", work.tokens_per_second)

    def own_loss(self) -> tuple[float, int] | None:
        """Return (sum of this rank's losses since the last point of the curve, number of their
        target tokens). Return None if there is no loss or it has not arrived from the GPU yet.
        """
        sums = self.curve.sums
        if not sums.has_loss:
            return None
        n_target = int(sums.n_target)
        if sums.loss.device.type == "cpu":
            return float(sums.loss), n_target
        if not is_asynchronous(sums.loss.device):  # it cannot be known whether reading would wait
            return None
        arrived = None
        if self._awaited is not None and self._awaited[1].query():
            arrived = float(self._awaited[0]), self._awaited[2]
        if self._awaited is None or arrived is not None:
            self._awaited = (*copy_in_background(sums.loss), n_target)
        return arrived

    def begin_validation(self, trainer: Trainer) -> None:
        """Update loss and speed, and pause the clock of the training while a validation runs."""
        if self.work is not None:
            self.look(trainer)
            self.work.begin_validation()

    def end_validation(self, trainer: Trainer, task: Task) -> None:
        """Show the scores of a validation that has ended."""
        if self.work is None:
            return
        scores = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        first = {name: scores[name] for name in (task.monitor, "val/loss") if name in scores}
        self.work.scores = first | scores
        self.work.end_validation()
        self.display.print(self.work)
        self._validated_step = trainer.global_step

    def finish(self, trainer: Trainer) -> None:
        """Print the progress after the last step (loss, tokens per second), unless a validation has
        just printed it.
        """
        if self.work is not None:
            self.look(trainer)
            if self._validated_step != trainer.global_step:  # its line is printed already
                self.display.print(self.work)


def finite(number: float) -> int | None:
    """Return a number of batches as int; None if it is infinite."""
    return int(number) if math.isfinite(number) else None
