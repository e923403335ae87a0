"""Callback that compiles the training step, if the task's setting `compile` says so or it pays."""
# mypy: disable-error-code="override"
# (hooks of our callbacks are called with our Task)

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback
from torch import Tensor

from lslm_lightning.training.compilation import (
    AUTO,
    CompiledLoss,
    CompiledTimes,
    first_line,
    loss_of,
    may_pay,
    shortest_times,
)
from lslm_lightning.training.distributed.fsdp import ShardedStrategy
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.precision import on_device, shown
from lslm_lightning.training.token_gradients import LOSS_DIVISOR

if TYPE_CHECKING:
    from lslm_lightning.training.batches import Batch
    from lslm_lightning.training.task import Task


class Compilation(Callback):
    """Callback that compiles the training step when training starts.

    The setting `compile` of the task decides: true compiles, false does not, and auto compiles if
    it pays within the run, by steps measured as they are and compiled. A decision for auto is
    recorded.

    Args:
        minutes: wall time of the training, if it is limited in place of its number of steps.
        record: function that is called when a decision was made, to write it into config.yaml.

    Attributes:
        seconds: time that compiling and measuring took.
    """

    def __init__(
        self, minutes: float | None = None, record: Callable[[], None] | None = None
    ) -> None:
        self.minutes = minutes
        self.record = record
        self.seconds = 0.0

    def on_train_start(self, trainer: TaskTrainer, task: Task) -> None:
        task.compiled_loss = None
        if task.compile_mode is False:
            return
        is_auto = task.compile_mode == AUTO
        began = time.monotonic()
        chosen = self.chosen(trainer, task) if is_auto else self.compiled(trainer, task)
        task.compiled_loss = chosen
        self.seconds = time.monotonic() - began
        if is_auto:
            task.requirements.decided["compile"] = chosen is not None
            if self.record is not None and trainer.is_global_zero:
                self.record()

    def compiled(self, trainer: TaskTrainer, task: Task) -> CompiledLoss:
        """Compile the loss and return it.

        Raises:
            ValueError: torch cannot compile it here.
        """
        tell(trainer, "compiling the training step, which may take a minute (model.compile=true)")
        trial = StepTrial(trainer, task)
        if (reason := trial.compile()) is not None:
            raise ValueError(
                f"model.compile=true: the training step cannot be compiled here: {reason}; set "
                "model.compile to false, or to auto, which then trains without"
            )
        tell(trainer, f"compiled in {shown(trial.compiling)}")
        return trial.loss

    def chosen(self, trainer: TaskTrainer, task: Task) -> CompiledLoss | None:
        """Compile the loss and return it if that pays within the run; None if not."""
        if task.backbone is None or not task.backbone.can_compile:
            return None
        if isinstance(trainer.strategy, ShardedStrategy):
            tell(trainer, "not compiled: the model is sharded (model.compile=auto)")
            return None
        trial = StepTrial(trainer, task)
        eager = trial.seconds_eager()
        n_batch = self.n_batch(trainer, task, eager)
        if not trial.agreed(may_pay(eager, n_batch)):
            tell(
                trainer,
                f"not compiled: {n_batch * eager:.0f} s of training are too few "
                f"(model.compile={AUTO})",
            )
            return None
        tell(trainer, "compiling the training step, to measure it (model.compile=auto)")
        if (reason := trial.compile()) is not None:
            tell(trainer, f"not compiled, since it cannot be here: {reason}")
            return None
        times = trial.times()
        pays = trial.agreed(times.pays(self.n_batch(trainer, task, times.eager)))
        measured = (
            f"a step takes {shown(times.compiled)} compiled, {shown(times.eager)} as it is, and "
            f"compiling took {shown(times.compiling)}"
        )
        tell(trainer, f"compiled: {measured}" if pays else f"not compiled: {measured}")
        return trial.loss if pays else None

    def n_batch(self, trainer: TaskTrainer, task: Task, seconds: float) -> float:
        """Return the number of micro-batches that this training still has.

        Args:
            seconds: time of one.
        """
        if self.minutes is not None and not trainer.global_step:
            return self.minutes * 60 / seconds
        return (task.n_step - trainer.global_step) * trainer.accumulate_grad_batches


class StepTrial:
    """Forward and backward passes over a batch of the usual size, to compile and to measure them.

    Random state and gradients are left as they were before.

    Attributes:
        loss: compiled loss, which `compile` prepares.
        compiling: seconds that `compile` took.
    """

    def __init__(self, trainer: TaskTrainer, task: Task) -> None:
        device = trainer.strategy.root_device
        usual = trainer.datamodule.sizes().usual
        n_id = task.tokenizer.vocab_size
        kind: Callable[..., Batch] = type(usual)
        self.batch = kind(
            *(
                on_device(value, device, n_id) if isinstance(value, Tensor) else value
                for value in usual
            )
        )
        self.trainer = trainer
        self.task = task
        self.loss = CompiledLoss()
        self.compiling = 0.0

    def compile(self) -> str | None:
        """Compile the loss; return the reason if some process cannot."""
        began = time.perf_counter()
        reason = None
        try:
            self._run(self.loss.compiling)
        except (RuntimeError, OSError, ImportError) as error:
            reason = first_line(error)
        self.compiling = time.perf_counter() - began
        if self.trainer.strategy.reduce_boolean_decision(reason is None, all=True):
            return None
        return reason or "another process could not"

    def seconds_eager(self) -> float:
        """Return the seconds of a pass that is not compiled."""
        return shortest_times(self._pass_eager, lambda: None)[0]

    def times(self) -> CompiledTimes:
        """Return the seconds of a pass as it is and compiled."""
        return CompiledTimes(*shortest_times(self._pass_eager, self._pass_compiled), self.compiling)

    def agreed(self, decision: bool) -> bool:
        """Return the decision of the first process."""
        return bool(self.trainer.strategy.broadcast(decision))

    def _pass_eager(self) -> None:
        self._run(loss_of)

    def _pass_compiled(self) -> None:
        self._run(self.loss)

    def _run(self, loss: Callable[[Task, Batch, float], Tensor]) -> None:
        """Do one pass in the precision of the training, and forget its gradients."""
        device = self.trainer.strategy.root_device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            with self.trainer.precision_plugin.train_step_context():
                nats = loss(self.task, self.batch, self.task.label_smoothing) / LOSS_DIVISOR
            nats.backward()
        self.task.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def tell(trainer: TaskTrainer, line: str) -> None:
    """Print a line, on the first process alone."""
    if trainer.is_global_zero:
        print(line, flush=True)
