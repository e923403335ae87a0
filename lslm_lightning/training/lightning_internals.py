"""All uses in training of private names of Lightning, and of attributes that a Trainer sets without
declaring them, as of lightning 2.6.6.

A test checks that the installed Lightning still has each of `PRIVATE_NAMES`.
"""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from subprocess import Popen
from typing import TYPE_CHECKING, TypeVar, cast

from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData

R = TypeVar("R")
CallbackT = TypeVar("CallbackT", bound=Callback)

PRIVATE_NAMES: tuple[tuple[type, str], ...] = (
    (_FitLoop, "_should_accumulate"),
    (_TrainingEpochLoop, "_should_check_val_fx"),
    (_SubprocessScriptLauncher, "_call_children_scripts"),
    (Strategy, "_configure_launcher"),
    (ModelParallelStrategy, "_setup_distributed"),
)
PRIVATE_ATTRIBUTES = (  # that a Trainer with a ModelParallelStrategy sets on its parts
    "fit_loop._data_fetcher",
    "fit_loop.epoch_loop._batches_that_stepped",
    "strategy._launcher",
    "strategy._data_parallel_size",
    "strategy._save_distributed_checkpoint",
)


class TaskTrainer(Trainer):
    """Lightning's Trainer with type annotations of attributes that it sets without
    declaring them.
    """

    callbacks: list[Callback]
    datamodule: "TaskData"
    log_every_n_steps: int


def data_of(trainer: Trainer) -> "TaskData":
    """Return the data module of a Trainer, as a `TaskData`."""
    return cast(TaskTrainer, trainer).datamodule


def callbacks_of(trainer: Trainer, kind: type[CallbackT]) -> list[CallbackT]:
    """Return the Trainer's callbacks of a class, in the order in which they are called."""
    return [each for each in cast(TaskTrainer, trainer).callbacks if isinstance(each, kind)]


# Loops


def is_accumulating(trainer: Trainer) -> bool:
    """Return whether gradients are still accumulated after the last micro-batch, so that it
    completed no optimizer step.
    """
    return bool(trainer.fit_loop._should_accumulate())


def validates_next(trainer: Trainer) -> bool:
    """Return whether a validation follows the last micro-batch."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None, "training is under way"
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def log_at_last_step(trainer: Trainer) -> None:
    """Set the step number under which Lightning logs to the number of optimizer steps done.
    Lightning's own count is one too low if a resumed run had no step left.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def n_micro_batch(trainer: Trainer) -> int:
    """Return the number of micro-batches that this process has trained on, in all epochs."""
    total = trainer.fit_loop.epoch_loop.batch_progress.total
    assert isinstance(total, _ProcessedTracker), "batches are counted when they are processed"
    return total.processed


def steps_per_validation(trainer: Trainer) -> float:
    """Return the mean number of optimizer steps between two validations; infinite if no number of
    batches decides when to validate.
    """
    n_batch = trainer.val_check_batch
    if not trainer.enable_validation or n_batch is None:  # None for validations by time
        return math.inf
    n_epoch = trainer.check_val_every_n_epoch
    n_train = trainer.num_training_batches  # infinite for a stream, whose first epoch never ends
    if n_epoch and n_epoch > 1 and not math.isfinite(n_train):
        return math.inf
    if n_epoch and math.isfinite(n_train):
        # counted anew in each epoch, and the last batches of an epoch may lead to none
        n_batch = n_epoch * n_train / max(1, n_train // n_batch)
    return n_batch / trainer.accumulate_grad_batches


# Processes


class MonitoredLauncher(_SubprocessScriptLauncher):
    """Launcher that starts one process per device, without Lightning's observer of these processes.
    The observer kills this process without a message when another one ends.

    Args:
        on_launch: function that is called with the started processes.
    """

    def __init__(
        self,
        cluster_environment: ClusterEnvironment,
        num_processes: int,
        num_nodes: int,
        on_launch: Callable[[Sequence[Popen[bytes]]], None],
    ) -> None:
        super().__init__(cluster_environment, num_processes, num_nodes)
        self.on_launch = on_launch

    def launch(
        self,
        function: Callable[..., R],
        *args: object,
        trainer: Trainer | None = None,
        **kwargs: object,
    ) -> R:
        """Start the other processes, call the function in this process, and return its result."""
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not environment.creates_processes_externally:
            self._call_children_scripts()
            self.on_launch(self.procs)
            if not environment.creates_processes_externally:
                return function(*args, **kwargs)
        # LOCAL_RANK is set by now, so that Lightning starts neither processes nor its observer
        result: R = super().launch(function, *args, trainer=trainer, **kwargs)
        return result


def monitor_launch(trainer: Trainer, on_launch: Callable[[Sequence[Popen[bytes]]], None]) -> None:
    """Replace the launcher of a Trainer that starts processes by a `MonitoredLauncher`.

    Args:
        on_launch: function that is called with the started processes.
    """
    strategy = trainer.strategy
    launcher = strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        environment = launcher.cluster_environment
        size = (launcher.num_processes, launcher.num_nodes)
        strategy._launcher = MonitoredLauncher(environment, *size, on_launch)


class TensorParallelStrategy(ModelParallelStrategy):
    """ModelParallelStrategy whose data-parallel size is the number of processes divided by
    `tensor_parallel_size`.

    Args:
        tensor_parallel_size: number of processes that compute each layer together.
        save_distributed_checkpoint: True if each process writes its part of a checkpoint folder,
            False if rank 0 writes one file.
        process_group_backend: communication backend; by default nccl for GPUs and gloo for CPUs.
        timeout: how long a process waits for the others before it gives up.
    """

    def __init__(
        self,
        tensor_parallel_size: int,
        save_distributed_checkpoint: bool,
        process_group_backend: str | None,
        timeout: timedelta,
    ) -> None:
        super().__init__(
            "auto",
            tensor_parallel_size,
            save_distributed_checkpoint,
            process_group_backend,
            timeout,
        )
        self.tensor_parallel_size = tensor_parallel_size

    @property
    def saves_folders(self) -> bool:
        """True if each process writes its part of a checkpoint folder."""
        return self._save_distributed_checkpoint

    def _setup_distributed(self) -> None:
        super()._setup_distributed()
        self._data_parallel_size = self.world_size // self.tensor_parallel_size
