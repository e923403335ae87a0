"""Ctrl-C and SIGTERM during training: finish the batch, save, stop."""

import signal
import sys
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.checkpoints import Checkpoints, save_atomically
from lslm_lightning.training.task import Task


class Interrupted(BaseException):
    """Someone asked the process to stop. Not an `Exception`, and not a `KeyboardInterrupt`, which Lightning turns into exit status 1.

    Attributes:
        signum: the signal, SIGINT for Ctrl-C.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message or f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


def stop_at_once(signum: int, frame: FrameType | None) -> None:
    """Signal handler outside of training: nothing to save."""
    raise Interrupted(signum)


class Interruption(Callback):
    """Within `fit`, SIGINT and SIGTERM only set a flag; where a resumed run can go on exactly, the ranks agree, save `last.ckpt` and stop.

    That is at the end of an optimizer step, or, where a validation is due, after it. A second signal stops at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received = 0
        self._before: dict[int, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received:
            raise Interrupted(signum)
        self.received = signum
        print(f"{signal.Signals(signum).name}: saving and stopping after this step (again: at once)", file=sys.stderr, flush=True)

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def on_train_batch_start(self, trainer: Trainer, task: Task, *args: Any) -> None:
        if trainer.global_step and trainer.global_step == self.checkpoints.validated_step:  # and so just saved
            self._stop_if_asked(trainer)

    def on_train_batch_end(self, trainer: Trainer, task: Task, *args: Any) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate() or loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            return
        self._stop_if_asked(trainer, save=True)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._restore()
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer, save: bool = False) -> None:
        received = self.received
        if trainer.world_size > 1:
            received = int(trainer.strategy.reduce(torch.tensor(received, device=trainer.strategy.root_device), reduce_op="max"))
        if not received:
            return
        if save:
            save_atomically(trainer, self.checkpoints.last)
        name = signal.Signals(received).name
        raise Interrupted(received, f"interrupted by {name} at step {trainer.global_step}; kept {self.checkpoints.last}")

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
