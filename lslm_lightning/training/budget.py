"""Conversion of a time budget in minutes into a number of steps, so that a run is reproducible."""

import copy
import gc
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lslm_lightning.optim import Schedule
from lslm_lightning.training.batches import Batch
from lslm_lightning.training.callbacks.compilation import Compilation
from lslm_lightning.training.lightning_internals import (
    callbacks_of,
    data_of,
    steps_per_validation,
)
from lslm_lightning.training.task import Task
from lslm_lightning.training.token_gradients import LOSS_DIVISOR

N_WARM = 3
N_TIMED = 24
N_VALIDATION = 3
N_FINALIZING = 40  # fewest training steps whose time says more than that of the measured ones
N_LOOK = 10  # steps from one look at the time to the next
# share of the time left that is reserved for what cannot be measured beforehand: checkpoints, other
# work on the machine
RESERVE = 0.04

ItemT = TypeVar("ItemT")


class _Learner(nn.Module):
    """Task wrapped as a module whose output is the loss, for `DistributedDataParallel`."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Batch) -> Tensor:
        return self.task.training_loss(batch) / LOSS_DIVISOR


class Budget(Callback):
    """Sets `trainer.max_steps` when training starts, so that training and its validations take
    `minutes`.

    The time of a step is the mean over batches spread over an epoch. It is measured on a copy of
    the model, so that weights, optimizer and random state of the run do not change. The time of a
    validation is measured on some of its batches, and on answers as long as the references.

    The first number of steps is an estimate. It may change as long as learning rates do not depend
    on it: during the warm-up, or until a `WarmupStableDecay` decays. Before they do, the number is
    made final, based on the time of the training steps and validations so far. It is chosen such
    that all steps so far would have had the same learning rates. A run that is stopped earlier
    resumes with the last estimate, which config.yaml holds.

    Args:
        minutes: wall time of `fit` from the first step on, and of compiling the step before.
        record: function that is called with the number of steps and whether it is final, to write
            the number into config.yaml.
    """

    def __init__(self, minutes: float, record: Callable[[int, bool], None]) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes={minutes} must be more than 0")
        self.minutes = minutes
        self.record = record
        self._began = self._since = self._paused = self._validation_seconds = 0.0
        self._from_step = 0  # step from which training steps are timed; 0 for none yet
        self._finalizes_at = 0  # step of the next estimate; 0 if the number of steps is final
        self._finalizes_by = 0.25  # share of the time after which to estimate in any case

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = cast(Task, pl_module)
        if trainer.global_step:  # a resumed run has its number of steps
            return
        # compiling counts
        before = sum(each.seconds for each in callbacks_of(trainer, Compilation))
        self._began = time.monotonic() - before
        if trainer.is_global_zero:
            print(
                f"timing steps and a validation, to plan {self.minutes:g} minutes of training",
                flush=True,
            )
        step_seconds = self._measure_step(trainer, task)
        gc.collect()  # a task and its parts refer to each other: frees the copy
        self._validation_seconds = self._measure_validation(trainer, task)
        n_step = self._n_step(trainer, step_seconds)
        first = min(
            self._last_final_step(task, n_step),
            n_step // 4,
            math.ceil(min(n_step, steps_per_validation(trainer))) - 1,
        )
        self._finalizes_at = first if first >= N_FINALIZING else 0
        self._set(trainer, n_step, step_seconds, is_final=not self._finalizes_at)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        if not self._finalizes_at:
            return
        # steps may be far slower than measured: then the share of the time elapsed decides; but the
        # clocks of several processes differ
        elapsed = (
            (time.monotonic() - self._began) / (self.minutes * 60)
            if trainer.world_size == 1
            else 0.0
        )
        if not self._from_step:
            # the first steps are slower
            if trainer.global_step >= self._finalizes_at // 2 or elapsed > self._finalizes_by / 2:
                self._from_step = trainer.global_step
                self._since = time.monotonic()
        elif trainer.global_step > self._from_step and (
            trainer.global_step >= self._finalizes_at or elapsed > self._finalizes_by
        ):
            step_seconds = (time.monotonic() - self._since) / (
                trainer.global_step - self._from_step
            )
            task = cast(Task, pl_module)
            n_step = self._n_step(trainer, step_seconds)
            left = self._last_final_step(task, n_step) - trainer.global_step
            first = self._finalizes_by < 1.0
            self._finalizes_by = 1.0
            # later steps may be slower: look again before it matters
            if left >= (N_FINALIZING if first else N_LOOK):
                self._finalizes_at = trainer.global_step + N_LOOK
                if not first:
                    return
            else:
                self._finalizes_at = 0
            self._set(
                trainer,
                self._unchanged_so_far(trainer, task, n_step),
                step_seconds,
                is_final=not self._finalizes_at,
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the number of steps as final if training ends before the next estimate."""
        if self._finalizes_at and trainer.is_global_zero:
            self.record(trainer.fit_loop.epoch_loop.max_steps, True)
        self._finalizes_at = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # leave it out of the time of the steps, and estimate the next validation by it
        if self._from_step and self._finalizes_at:
            self._validation_seconds = time.monotonic() - self._paused
            self._since += self._validation_seconds

    @staticmethod
    def _last_final_step(task: Task, n_step: int) -> int:
        """Return the step by which the number of steps must be final: before learning rates depend
        on it, and early enough to correct an error in the steps left.
        """
        return min(same_until(task.schedule, n_step, 2 * n_step), n_step * 3 // 5)

    @staticmethod
    def _unchanged_so_far(trainer: Trainer, task: Task, n_step: int) -> int:
        """Return the number of steps nearest to `n_step`, between it and the last estimate, for
        which all steps so far have the same learning rates as under the last estimate.
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
        """Return the number of steps of the whole run that fits into the budget if each remaining
        step takes `step_seconds`. All processes return the number of rank 0.
        """
        left = (self.minutes * 60 - (time.monotonic() - self._began)) * (
            1 - RESERVE
        ) - self._validation_seconds
        each = self._validation_seconds / steps_per_validation(trainer)
        more = left / (step_seconds + each)
        return int(trainer.strategy.broadcast(trainer.global_step + max(1, int(more))))

    def _set(self, trainer: Trainer, n_step: int, step_seconds: float, is_final: bool) -> None:
        """Set the number of steps of the whole run, record it, and print it with the measured
        times.
        """
        trainer.fit_loop.epoch_loop.max_steps = n_step
        if trainer.is_global_zero:
            self.record(n_step, is_final)
            every = steps_per_validation(trainer)
            seconds = f"{self._validation_seconds:.0f} s"
            is_planned = math.isfinite(every)
            validations = f", with a validation of {seconds} every {every:g} steps"
            print(
                f"{self.minutes:g} minutes are {'' if is_final else 'about '}{n_step} steps of "
                f"{step_seconds:.3f} s{validations if is_planned else ''}",
                flush=True,
            )

    def _measure_step(self, trainer: Trainer, task: Task) -> float:
        """Return the mean time of an optimizer step in seconds, measured on a copy of the task."""
        probe = copy.deepcopy(task).train()
        probe._trainer = task._trainer
        config = probe.configure_optimizers()
        assert isinstance(config, dict)
        optimizer = config["optimizer"]
        learner = (
            _Learner(probe) if trainer.world_size == 1 else DistributedDataParallel(_Learner(probe))
        )
        stream = data_of(trainer).train_stream
        loader = trainer.fit_loop._combined_loader
        assert stream is not None
        assert loader is not None
        dataset = loader.flattened[0].dataset

        def step(pick: object) -> None:
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
        """Return the estimated time of a validation in seconds, measured on a few batches of the
        loss, a few batches of answers, and the logged samples.
        """
        if not trainer.enable_validation:
            return 0.0
        task.eval()
        try:
            with trainer.precision_plugin.val_step_context():
                data = data_of(trainer)
                loader = data.val_dataloader()
                picks = [pick for pick in loader.sampler if len(pick)][
                    : int(trainer.num_val_batches[0])
                ]
                dataset = loader.dataset
                losses = self._extrapolated(
                    picks,
                    lambda pick: float(task.loss(trainer.strategy.batch_to_device(dataset[pick]))),
                )
                examples = data.validation_examples()
                batches = data.evaluation_batches(examples, trainer.global_rank, trainer.world_size)
                samples = self._extrapolated([None], lambda _: task.answering.samples())
                return losses + self._extrapolated(batches, task.answering.benchmark_step) + samples
        finally:
            task.train()

    @staticmethod
    def _extrapolated(items: Sequence[ItemT], work: Callable[[ItemT], object]) -> float:
        """Return the estimated seconds that `work` takes for all items, measured on a few items
        spread over the list.
        """
        n = min(N_VALIDATION, len(items))
        began = time.monotonic()
        for i in range(n):
            work(items[(2 * i + 1) * len(items) // (2 * n)])
        return (time.monotonic() - began) / n * len(items) if n else 0.0


def same_until(schedule: Schedule, n_step: int, other: int) -> int:
    """Return the last step, at most `n_step`, up to which a run of `n_step` steps and a run of
    `other` steps have the same learning rates.
    """
    return next(
        (step - 1 for step in range(n_step + 1) if schedule(step, n_step) != schedule(step, other)),
        n_step,
    )
