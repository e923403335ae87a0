"""DataLoaders of whole batches for one rank of a training or an evaluation."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from lslm_lightning.data.batching import BatchStream, limited
from lslm_lightning.training.batches import EvaluationBatch
from lslm_lightning.training.distributed.fsdp import data_share

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData

Item = TypeVar("Item")


class BatchPlan(Protocol):
    """Assignment of examples to batches: `plan(epoch)` is one item for each batch of that epoch."""

    def __len__(self) -> int:
        """Number of batches of an epoch, on all ranks together."""

    def __call__(self, epoch: int) -> Sequence:
        """Return what the dataset makes each batch of: indices, or the start of windows."""


def rank_stream(data: "TaskData", plan: BatchPlan) -> BatchStream:
    """Return this rank's share of the batches of `plan`, from the Trainer's current position on."""
    trainer = data.trainer
    rank, world = data_share(trainer)
    n_batch = len(plan)
    epoch: Callable[[int], Sequence] = plan
    if data.overfit_batches:
        n_batch = min(n_batch, limited(max(1, n_batch // world), data.overfit_batches) * world)
        kept = plan(0)[:n_batch]
        epoch = lambda _: kept  # noqa: E731
    return BatchStream(
        epoch,
        n_batch,
        lambda: data.position(n_processed(trainer)),
        rank,
        world,
        trainer.accumulate_grad_batches,
        trainer.limit_train_batches,
    )


def n_processed(trainer: Trainer) -> int:
    """Return the number of micro-batches that this process has trained on."""
    total = trainer.fit_loop.epoch_loop.batch_progress.total
    return total.processed  # type: ignore[attr-defined]  # set in Lightning's subclass


def rank_share(trainer: Trainer, batches: Sequence[Item]) -> list[Item] | list[list[int]]:
    """Return this rank's part of the batches; one empty batch if it has none, since Lightning would
    otherwise skip its part in collective calls.
    """
    rank, number = data_share(trainer)
    own = list(batches[rank::number])
    return own if own else [list[int]()]


def batch_loader(
    trainer: Trainer, dataset: object, sampler: Iterable | None, num_workers: int
) -> DataLoader:
    """Return a DataLoader of whole batches, where `dataset[item of sampler]` is a batch; without a
    sampler the dataset yields batches.
    """
    pin = trainer.accelerator.__class__.__name__ == "CUDAAccelerator"
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # a mapping from items to batches, not from numbers
        sampler=sampler,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin,
    )


def evaluation_loader(data: "TaskData", split: str) -> DataLoader:
    """Return a loader of this rank's evaluation batches of the split; of one empty batch if it has
    no examples, as in `rank_share`.
    """
    batches = data.evaluation_batches(data.examples(split), *data_share(data.trainer))
    together = [EvaluationBatch(batch) for batch in batches or [[]]]
    return DataLoader(together, batch_size=None)  # type: ignore[arg-type]  # a list is a dataset
