"""A budget in minutes becomes a number of steps, measured before training and written down, so that a run can be repeated exactly."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lslm_lightning.training.task import LOSS_DIVISOR, Task

N_WARM, N_TIMED, N_VALIDATION = 3, 24, 3
RESERVE = 0.04  # share of the budget kept for what cannot be measured beforehand: checkpoints, a busier hour


class _Learner(nn.Module):
    """A task as a module whose output is the loss, so that several processes can train it together."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Any) -> Tensor:
        return self.task.loss(batch, self.task.label_smoothing) / LOSS_DIVISOR


class Budget(Callback):
    """Turns `minutes` of fitting, validation included, into `trainer.max_steps` when training starts.

    The time of a step is the mean over batches spread over an epoch, on a copy of the model: weights, optimizer and chance of the run are
    left alone. The time of a validation is measured on some of its batches and on its exam with outputs of the length of the references.

    Args:
        minutes: wall time of `fit` from the first step on.
        record: is told the number of steps, to be written into config.yaml.
    """

    def __init__(self, minutes: float, record: Callable[[int], None]) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes={minutes} must be more than 0")
        self.minutes, self.record = minutes, record

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if trainer.global_step:  # a resumed run has its number of steps
            return
        began = time.monotonic()
        step_seconds = self._step_seconds(trainer, task)
        validation_seconds = self._validation_seconds(trainer, task)
        left = self.minutes * 60 * (1 - RESERVE) - (time.monotonic() - began)
        every = trainer.val_check_batch / trainer.accumulate_grad_batches
        n_step = max(1, int((left - validation_seconds) / (step_seconds + validation_seconds / every)))
        n_step = int(trainer.strategy.broadcast(n_step))
        trainer.fit_loop.epoch_loop.max_steps = n_step
        if trainer.is_global_zero:
            self.record(n_step)
            print(
                f"{self.minutes:g} minutes are {n_step} steps of {step_seconds:.3f} s,"
                f" with a validation of {validation_seconds:.0f} s every {every:g}",
                flush=True,
            )

    def _step_seconds(self, trainer: Trainer, task: Task) -> float:
        """Mean seconds of one optimizer step."""
        probe = copy.deepcopy(task).train()
        probe._trainer = task._trainer
        optimizer = probe.configure_optimizers()["optimizer"]
        learner = _Learner(probe) if trainer.world_size == 1 else DistributedDataParallel(_Learner(probe))
        stream, dataset = trainer.datamodule.train_stream, trainer.fit_loop._combined_loader.flattened[0].dataset

        def step(pick: Any) -> None:
            with trainer.precision_plugin.train_step_context():
                loss = learner(trainer.strategy.batch_to_device(dataset[pick]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
            float(loss.detach())  # waits for a GPU

        picks = [stream[i * len(stream) // N_TIMED] for i in range(N_TIMED)]  # spread over the epoch
        for pick in picks[:N_WARM]:
            step(pick)
        began = time.monotonic()
        for pick in picks + picks:  # shapes that are new are slower than those seen before, and a training meets both
            step(pick)
        return (time.monotonic() - began) / (2 * N_TIMED) * trainer.accumulate_grad_batches

    @torch.no_grad()
    def _validation_seconds(self, trainer: Trainer, task: Task) -> float:
        """Seconds of one validation, by a few batches of both kinds."""
        if not trainer.enable_validation:
            return 0.0
        task.eval()
        try:
            with trainer.precision_plugin.val_step_context():
                loader = trainer.datamodule.val_dataloader()
                picks, dataset = [pick for pick in loader.sampler if len(pick)][: int(trainer.num_val_batches[0])], loader.dataset
                losses = self._extrapolated(picks, lambda pick: float(task.loss(trainer.strategy.batch_to_device(dataset[pick]))))
                exam = trainer.datamodule.validation_exam()
                batches = trainer.datamodule.exam_batches(exam, trainer.global_rank, trainer.world_size)
                samples = self._extrapolated([None], lambda _: task.samples())
                return losses + self._extrapolated(batches, task.rehearse) + samples
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
