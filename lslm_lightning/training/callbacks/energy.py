"""Callback that measures the energy of training, where the machine has counters for it."""
# mypy: disable-error-code="override"
# (hooks of our callbacks are called with our Task)

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.energy import (
    EnergyMeter,
    MeasuredTraining,
    machine_meter,
    read_energy,
    write_energy,
)
from lslm_lightning.training.task import Task
from lslm_lightning.types import StateDict


class EnergyRecorder(Callback):
    """Callback that writes the energy of training to a file of the run, at each save and at the
    end. Rank 0 does, for its machine.

    A resumed training adds an entry of its own, so that what was lost between the last save and a
    stop is counted as far as it was written, and steps that are trained again count again.

    Args:
        path: path of the file.
        meter: returns a meter, given the identifiers of the GPUs and the number of machines.
    """

    def __init__(
        self,
        path: Path,
        meter: Callable[[Sequence[str], int], EnergyMeter] = machine_meter,
    ) -> None:
        self.path = path
        self.meter = meter
        self._running: EnergyMeter | None = None
        self._before: list[MeasuredTraining] = []

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if trainer.is_global_zero:
            self._before = read_energy(self.path)
            if not self._before and self.path.exists():  # damaged: kept aside
                with suppress(OSError):
                    self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
            try:
                self._running = self.meter(gpus_of(trainer), trainer.num_nodes)
                self._running.start()
            except Exception as error:  # whatever a driver does, training goes on
                self._running = EnergyMeter([], reason=" ".join(str(error).split()))
                self._running.start()

    def on_save_checkpoint(self, trainer: Trainer, task: Task, checkpoint: StateDict) -> None:
        if self._running is not None:
            self._write(self._running.sample())

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._finish()

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._running is not None:
            self._write(self._running.stop())
            self._running = None

    def _write(self, measured: MeasuredTraining) -> None:
        with suppress(OSError):  # a training is worth more than the record of its energy
            write_energy(self.path, [*self._before, measured])


def gpus_of(trainer: Trainer) -> list[str]:
    """Return the identifiers of the GPUs of this machine that a Trainer uses, as NVIDIA's driver
    has them; empty if it uses none.
    """
    if trainer.strategy.root_device.type != "cuda":
        return []
    return [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in trainer.device_ids]
