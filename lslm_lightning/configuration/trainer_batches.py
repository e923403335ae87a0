"""Checks of batch limits, and of shares of batches, against the data."""

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from lslm_lightning.configuration.subcommands import LOADERS, TRAINING, split_of
from lslm_lightning.data.batching import BatchStream, limited
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task


def check_batches(trainer: Namespace, data: TaskData, world: int) -> None:
    """Refuse a `limit_train_batches` or `overfit_batches` of less than one batch, any share of an
    epoch of unknown length, `overfit_batches` on a stream or on rows read in order, and a
    `val_check_interval` that does not fit the number of training batches.

    Args:
        trainer: Trainer settings.
        world: number of processes that share the data.

    Raises:
        ValueError: the message names the setting.
    """
    every = trainer.val_check_interval
    overfit = trainer.overfit_batches
    if overfit and not data.can_overfit:
        raise ValueError(
            f"trainer.overfit_batches={overfit}: batches of a stream, or of rows that are read in "
            "order, cannot be repeated; leave it out"
        )
    limit = trainer.limit_train_batches
    shares = {
        name: value
        for name, value in (("limit_train_batches", limit), ("overfit_batches", overfit))
        if isinstance(value, float) and 0 < value < 1
    }
    is_validated = trainer.limit_val_batches != 0
    if is_validated and isinstance(every, float) and every < 1:
        shares["val_check_interval"] = every
    is_cut = limit is not None and trainer.accumulate_grad_batches > 1
    refers_to_epoch = is_cut or trainer.check_val_every_n_epoch is not None
    counts_batches = is_validated and isinstance(every, int) and refers_to_epoch
    if not shares and not counts_batches:
        return
    n_batch = n_train_batch(data, world, trainer.accumulate_grad_batches)
    check_train_shares(shares, n_batch)
    if counts_batches and n_batch is not None:
        check_interval_fits_epoch(trainer, limited(n_batch, overfit or limit))


def check_train_shares(shares: dict[str, float], n_batch: int | None) -> None:
    """Refuse shares of an epoch of unknown length, and shares that amount to less than one batch.

    Args:
        shares: share of an epoch, by name of the setting.
        n_batch: number of batches per epoch; None if unknown.

    Raises:
        ValueError: the message names the setting.
    """
    for name, value in shares.items():
        if n_batch is None:
            raise ValueError(
                f"trainer.{name}={value} is a share of an epoch, and the length of an epoch of a "
                "stream is unknown: give a number of batches"
            )
        if name != "val_check_interval" and int(n_batch * value) < 1:
            raise ValueError(
                f"trainer.{name}={value} of {n_batch} batches is none; try {1 / n_batch:.2g} or 1 "
                "batch"
            )


def check_interval_fits_epoch(trainer: Namespace, n_batch: int) -> None:
    """Refuse a number of batches between validations that does not fit an epoch.

    Args:
        trainer: Trainer settings.
        n_batch: number of batches per epoch, after `limit_train_batches`.

    Raises:
        ValueError: the message names the settings.
    """
    every = trainer.val_check_interval
    accumulate = trainer.accumulate_grad_batches
    per_epoch = trainer.check_val_every_n_epoch
    is_cut = trainer.limit_train_batches is not None and accumulate > 1
    if is_cut and per_epoch is None and n_batch > accumulate and n_batch % accumulate:
        raise ValueError(
            f"trainer.limit_train_batches leaves {n_batch} batches an epoch, which must be a "
            f"multiple of trainer.accumulate_grad_batches={accumulate}, since "
            f"trainer.val_check_interval={every} would validate within a step otherwise: change "
            "the limit to a multiple"
        )
    if per_epoch is not None and every > n_batch:
        raise ValueError(
            f"trainer.val_check_interval={every} is more than the {n_batch} batches of an epoch, "
            "to which trainer.check_val_every_n_epoch refers: lower it, or set "
            "trainer.check_val_every_n_epoch=null"
        )


def n_train_batch(data: TaskData, world: int, accumulate: int) -> int | None:
    """Return the number of batches per epoch that each process trains on; None if the length of an
    epoch is unknown.

    Args:
        world: number of processes that share the data.
        accumulate: number of batches per optimizer step.
    """
    n_batch = data.sizes().n_batch()
    if n_batch is None:
        return None
    return len(BatchStream(lambda _: (), n_batch, lambda: 0, 0, world, accumulate))


def check_shares(
    command: str, trainer: Namespace, data: TaskData, task: Task, world: int, tried: Trainer
) -> None:
    """Refuse shares of validation, test or prediction batches that amount to less than one batch
    per process.

    Lightning would refuse them too, but only after the training.

    Args:
        command: subcommand, which determines the loaders to check.
        trainer: Trainer settings.
        world: number of processes that share the data.
        tried: Trainer from `tried_trainer`.

    Raises:
        ValueError: the message names the setting.
    """
    overfit = trainer.overfit_batches if command in TRAINING else 0.0
    for name in LOADERS[command]:
        setting = "overfit_batches" if name == "val" and overfit else f"limit_{name}_batches"
        share = trainer[setting]
        if name == "train" or not isinstance(share, float) or not 0 < share < 1:
            continue
        n = n_batch_of(name, data, task, tried)
        if n * share < world:
            raise ValueError(
                f"trainer.{setting}={share} of {n} batches of the "
                f"{'validation' if name == 'val' else split_of(name)} split is less than 1; set 1, "
                "or a larger share"
            )


def n_batch_of(name: str, data: TaskData, task: Task, tried: Trainer) -> int:
    """Return the number of batches that one process alone would validate, test or predict.

    Args:
        name: loader: "val", "test" or "predict".
        tried: Trainer that runs nothing, to which the data are connected for a moment.
    """
    tried.strategy.connect(task)
    data.trainer = tried
    try:
        return len(getattr(data, f"{name}_dataloader")())
    finally:
        data.trainer = None  # type: ignore[assignment]  # as before it was connected
