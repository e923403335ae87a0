"""A budget in minutes becomes a number of steps, measured and written down, so that a run can be
repeated exactly.
"""

import copy
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lslm_lightning.optim import Schedule
from lslm_lightning.training.task import Task
from lslm_lightning.training.token_gradients import LOSS_DIVISOR

N_WARM = 3
N_TIMED = 24
N_VALIDATION = 3
N_SETTLING = 40  # the fewest real steps that say more than the measured ones
N_LOOK = 10  # steps from one look at the time to the next
# share of the time to come that is kept for what cannot be measured beforehand: checkpoints, a
# busier hour
RESERVE = 0.04


class _Learner(nn.Module):
    """A task as a module whose output is the loss, so that several processes can train it
    together.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Any) -> Tensor:
        return self.task.loss(batch, self.task.label_smoothing) / LOSS_DIVISOR


class Budget(Callback):
    """Turns `minutes` of fitting, validation included, into `trainer.max_steps` when training
    starts.

    The time of a step is the mean over batches spread over an epoch, on a copy of the model:
    weights, optimizer and chance of the run are left alone. The time of a validation is measured on
    some of its batches and on its exam with outputs of the length of the references. As long as the
    learning rates know nothing of the end (while they warm up, or until a `Trapezoid` comes down),
    the number of steps is open: it is settled there, by the steps and the validations that really
    were, to one under which every step so far would have been the same. A run that is stopped
    before goes on to the number reckoned last, which config.yaml holds.

    Args:
        minutes: wall time of `fit` from the first step on.
        record: is told the number of steps, to be written into config.yaml, and whether it is
            settled.
    """

    def __init__(self, minutes: float, record: Callable[[int, bool], None]) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes={minutes} must be more than 0")
        self.minutes = minutes
        self.record = record
        self._began = self._since = self._paused = self._validation_seconds = 0.0
        self._from_step = self._settles_at = 0  # 0 for no more to be done
        self._settles_by = 0.25  # share of the time

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if trainer.global_step:  # a resumed run has its number of steps
            return
        self._began = time.monotonic()
        if trainer.is_global_zero:
            print(
                f"measuring steps and a validation, to plan {self.minutes:g} minutes of training",
                flush=True,
            )
        step_seconds = self._measure_step(trainer, task)
        self._validation_seconds = self._measure_validation(trainer, task)
        n_step = self._n_step(trainer, step_seconds)
        first = min(
            self._last_chance(task, n_step),
            n_step // 4,
            math.ceil(self._validates_every(trainer)) - 1,
        )
        self._settles_at = first if first >= N_SETTLING else 0
        self._set(trainer, n_step, step_seconds, settled=not self._settles_at)

    def on_train_batch_end(self, trainer: Trainer, task: Task, *args: Any) -> None:
        if not self._settles_at:
            return
        # steps may be far slower than measured: then a share of the time says when; but of several
        # processes each has a clock of its own
        gone = (
            (time.monotonic() - self._began) / (self.minutes * 60)
            if trainer.world_size == 1
            else 0.0
        )
        if not self._from_step:
            # the first steps are slower
            if trainer.global_step >= self._settles_at // 2 or gone > self._settles_by / 2:
                self._from_step = trainer.global_step
                self._since = time.monotonic()
        elif trainer.global_step > self._from_step and (
            trainer.global_step >= self._settles_at or gone > self._settles_by
        ):
            step_seconds = (time.monotonic() - self._since) / (
                trainer.global_step - self._from_step
            )
            n_step = self._n_step(trainer, step_seconds)
            left = self._last_chance(task, n_step) - trainer.global_step
            first = self._settles_by < 1.0
            self._settles_by = 1.0
            # later steps may be slower: look again before it matters
            if left >= (N_SETTLING if first else N_LOOK):
                self._settles_at = trainer.global_step + N_LOOK
                if not first:
                    return
            else:
                self._settles_at = 0
            self._set(
                trainer,
                self._unchanged_so_far(trainer, task, n_step),
                step_seconds,
                settled=not self._settles_at,
            )

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        """A short run may be over before it looks again."""
        if self._settles_at and trainer.is_global_zero:
            self.record(trainer.fit_loop.epoch_loop.max_steps, True)
        self._settles_at = 0

    def on_validation_start(self, trainer: Trainer, *args: Any) -> None:
        self._paused = time.monotonic()

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        # no step's time, but a better measure of the next one's
        if self._from_step and self._settles_at:
            self._validation_seconds = time.monotonic() - self._paused
            self._since += self._validation_seconds

    @staticmethod
    def _last_chance(task: Task, n_step: int) -> int:
        """The step by which `n_step` has to be settled: before it matters, and with enough left to
        make up for an error.
        """
        return min(same_until(task.schedule, n_step, 2 * n_step), n_step * 3 // 5)

    @staticmethod
    def _unchanged_so_far(trainer: Trainer, task: Task, n_step: int) -> int:
        """`n_step`, or the next number towards the one reckoned before under which the steps so far
        had the same learning rates.
        """
        before = task.n_step
        done = trainer.global_step
        between = range(n_step, before, 1 if before > n_step else -1)
        at = bisect_left(
            between,
            True,
            key=lambda n: all(
                task.schedule(s, n) == task.schedule(s, before) for s in range(done + 1)
            ),
        )
        return between[at] if at < len(between) else before

    def _n_step(self, trainer: Trainer, step_seconds: float) -> int:
        """Steps of the whole run if those to come take so long."""
        left = (self.minutes * 60 - (time.monotonic() - self._began)) * (
            1 - RESERVE
        ) - self._validation_seconds
        more = left / (step_seconds + self._validation_seconds / self._validates_every(trainer))
        return int(trainer.strategy.broadcast(trainer.global_step + max(1, int(more))))

    def _set(self, trainer: Trainer, n_step: int, step_seconds: float, settled: bool) -> None:
        trainer.fit_loop.epoch_loop.max_steps = n_step
        if trainer.is_global_zero:
            self.record(n_step, settled)
            print(
                f"{self.minutes:g} minutes are {'' if settled else 'about '}{n_step} steps of "
                f"{step_seconds:.3f} s,"
                f" with a validation of {self._validation_seconds:.0f} s every "
                f"{self._validates_every(trainer):g}",
                flush=True,
            )

    @staticmethod
    def _validates_every(trainer: Trainer) -> float:
        """Optimizer steps from validation to validation."""
        return trainer.val_check_batch / trainer.accumulate_grad_batches

    def _measure_step(self, trainer: Trainer, task: Task) -> float:
        """Mean seconds of one optimizer step."""
        probe = copy.deepcopy(task).train()
        probe._trainer = task._trainer
        optimizer = probe.configure_optimizers()["optimizer"]
        learner = (
            _Learner(probe) if trainer.world_size == 1 else DistributedDataParallel(_Learner(probe))
        )
        stream = trainer.datamodule.train_stream
        dataset = trainer.fit_loop._combined_loader.flattened[0].dataset

        def step(pick: Any) -> None:
            with trainer.precision_plugin.train_step_context():
                loss = learner(trainer.strategy.batch_to_device(dataset[pick]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
            float(loss.detach())  # waits for a GPU

        # spread over the epoch
        picks = [stream[i * len(stream) // N_TIMED] for i in range(N_TIMED)]
        for pick in picks[:N_WARM]:
            step(pick)
        began = time.monotonic()
        # shapes that are new are slower than those seen before, and a training meets both
        for pick in picks + picks:
            step(pick)
        return (time.monotonic() - began) / (2 * N_TIMED) * trainer.accumulate_grad_batches

    @torch.no_grad()
    def _measure_validation(self, trainer: Trainer, task: Task) -> float:
        """Seconds of one validation, by a few batches of both kinds."""
        if not trainer.enable_validation:
            return 0.0
        task.eval()
        try:
            with trainer.precision_plugin.val_step_context():
                loader = trainer.datamodule.val_dataloader()
                picks = [pick for pick in loader.sampler if len(pick)][
                    : int(trainer.num_val_batches[0])
                ]
                dataset = loader.dataset
                losses = self._extrapolated(
                    picks,
                    lambda pick: float(task.loss(trainer.strategy.batch_to_device(dataset[pick]))),
                )
                exam = trainer.datamodule.validation_exam()
                batches = trainer.datamodule.exam_batches(
                    exam, trainer.global_rank, trainer.world_size
                )
                samples = self._extrapolated([None], lambda _: task.answering.samples())
                return losses + self._extrapolated(batches, task.answering.benchmark_step) + samples
        finally:
            task.train()

    @staticmethod
    def _extrapolated(items: Sequence[Any], work: Callable[[Any], Any]) -> float:
        """Seconds for all items, by some that are spread over them."""
        n = min(N_VALIDATION, len(items))
        began = time.monotonic()
        for i in range(n):
            work(items[(2 * i + 1) * len(items) // (2 * n)])
        return (time.monotonic() - began) / n * len(items) if n else 0.0


def same_until(schedule: Schedule, n_step: int, other: int) -> int:
    """The last step (at most `n_step`) up to which runs of `n_step` and of `other` steps have the
    same learning rates.
    """
    return next(
        (step - 1 for step in range(n_step + 1) if schedule(step, n_step) != schedule(step, other)),
        n_step,
    )
