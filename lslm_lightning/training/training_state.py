"""Training state in checkpoints: data position, and settings that decide the next batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lslm_lightning.optim import decay_groups
from lslm_lightning.training.distributed.fsdp import by_mesh, data_share
from lslm_lightning.training.lightning_internals import data_of
from lslm_lightning.training.optimizer_settings import name_of, recorded
from lslm_lightning.types import JsonObject, StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task


class TrainingState:
    """Saves the position in the data and the training settings in checkpoints, and restores them.

    Args:
        task: the task that is trained.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def _data(self) -> TaskData:
        return data_of(self.task.trainer)

    def identity(self, data: TaskData) -> dict[str, str]:
        """Return what must not change when training resumes, as text by name: `TaskData.identity`,
        and the settings of an adapter.
        """
        adapter = self.task.adapter
        return {**data.identity, **({} if adapter is None else adapter.identity)}

    def save(self, checkpoint: StateDict) -> None:
        """Add the position in the data and the training settings to a checkpoint."""
        trainer = self.task.trainer
        data = self._data
        checkpoint["tokenizer_digest"] = self.task.tokenizer.digest
        checkpoint["world_size"] = data_share(trainer)[1]
        checkpoint["accumulate"] = trainer.accumulate_grad_batches
        checkpoint["position"] = data.current_position()
        checkpoint["data"] = self.identity(data)
        checkpoint["limit_train_batches"] = trainer.limit_train_batches
        checkpoint["optimizers"] = [recorded(optimizer) for optimizer in trainer.optimizers]
        checkpoint["schedules"] = [
            name_of(config.scheduler) for config in trainer.lr_scheduler_configs
        ]

    def load(self, checkpoint: StateDict) -> None:
        """Restore the position in the data, so that training continues with the batch that would
        have come next. Does nothing outside of `fit`.

        Lightning's counts in the checkpoint are converted to the current number of processes.

        Raises:
            ValueError: a setting that decides which batches are read has changed; the message names
                it.
        """
        trainer = self.task.trainer
        if trainer.state.fn != "fit" or "position" not in checkpoint:
            return
        before = checkpoint["world_size"]
        now = data_share(trainer)[1]
        accumulate = trainer.accumulate_grad_batches
        data = self._data
        identity = self.identity(data)
        refuse_changes(checkpoint, identity, now, accumulate, trainer.limit_train_batches)
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        reopen_epoch(checkpoint["loops"]["fit_loop"]["epoch_progress"], progress)
        if before != now:
            self._recount(progress, checkpoint["position"], now)
            if trainer.is_global_zero:
                print(
                    f"saved by {before} x {checkpoint['accumulate']} micro-batches a step "
                    f"(processes x accumulation), resumes with {now} x {accumulate}",
                    flush=True,
                )
        data.began_at = (progress["total"]["processed"], checkpoint["position"])
        n_group = len(by_mesh(decay_groups(self.task)))
        for state in checkpoint.get("lr_schedulers", []):  # other meshes, other groups
            names = ("base_lrs", "_last_lr", "lr_lambdas")
            state |= {name: state[name][:1] * n_group for name in names if name in state}

    def _recount(self, progress: JsonObject, position: int, world_size: int) -> None:
        """Set Lightning's counts of this rank's micro-batches, on which its validations depend, as
        if `world_size` ranks had trained from the start.

        Args:
            progress: Lightning's saved progress of batches, changed in place.
            position: number of micro-batches that all ranks together have trained on.
            world_size: number of ranks that read different data.
        """
        data = self._data
        if data.train_stream is None:
            data.train_dataloader()
        done = position // world_size
        in_epoch = done if data.train_stream is None else done % data.train_stream.epoch_length
        for which, number in (("total", done), ("current", in_epoch)):
            progress[which] |= dict.fromkeys(("ready", "started", "processed", "completed"), number)


def reopen_epoch(epochs: JsonObject, batches: JsonObject) -> None:
    """Correct Lightning's saved progress of epochs, in place, if training ended in the middle of an
    epoch. Lightning counts such an epoch as complete.

    Args:
        epochs: saved progress of epochs.
        batches: saved progress of the batches of an epoch.
    """
    if (
        batches["is_last_batch"]
        or not batches["current"]["ready"]
        or epochs["current"]["processed"] < epochs["current"]["ready"]
    ):
        return
    for counts in (epochs["total"], epochs["current"]):
        counts |= dict.fromkeys(("processed", "completed"), counts["started"] - 1)


def refuse_changes(
    checkpoint: StateDict,
    identity: Mapping[str, str],
    world_size: int,
    accumulate: int,
    limit: int | float | None,
) -> None:
    """Raise an error if a setting that decides which batches are read differs from the checkpoint.

    The accumulation may change together with the number of processes. The number of processes
    itself must not change if each process carries the recurrent state of its own rows.

    Args:
        checkpoint: saved state; may be of an earlier release, which recorded fewer settings.
        identity: `TrainingState.identity` of the current data and model.
        world_size: current number of processes that read different data.
        accumulate: current value of `trainer.accumulate_grad_batches`.
        limit: current value of `trainer.limit_train_batches`, which decides the length of an epoch.

    Raises:
        ValueError: the message names each setting with its saved and its current value.
    """
    saved: dict[str, str] = dict(checkpoint.get("data", {}))
    now = dict(identity)
    if checkpoint.get("world_size") == world_size:
        name = "trainer.accumulate_grad_batches"
        saved[name] = str(checkpoint.get("accumulate"))
        now[name] = str(accumulate)
    elif "carried" in checkpoint:
        name = "the number of processes that each read contiguous rows"
        saved[name] = str(checkpoint.get("world_size"))
        now[name] = str(world_size)
    if "limit_train_batches" in checkpoint:
        name = "trainer.limit_train_batches"
        saved[name] = str(checkpoint["limit_train_batches"])
        now[name] = str(1.0 if limit is None else limit)
    changed = [
        f"{name} ({saved[name]} then, {value} now)"
        for name, value in now.items()
        if saved.get(name, value) != value
    ]
    refuse_changed(changed)


def refuse_changed(changed: Sequence[str]) -> None:
    """Raise an error if settings differ from those of a checkpoint.

    Args:
        changed: settings that differ, each with its value in the checkpoint and its current value.

    Raises:
        ValueError: there is such a setting; the message names all of them.
    """
    if changed:
        raise ValueError(
            f"since the checkpoint was saved, {' and '.join(changed)} changed; restore the old "
            "value, or train a new run"
        )
