"""DataLoaders of whole batches for one rank of a training or an evaluation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example
from lslm_lightning.data.batching import BatchStream, limited
from lslm_lightning.training.batches import EvaluationBatch
from lslm_lightning.training.distributed.fsdp import data_share

Item = TypeVar("Item")


class BatchPlan(Protocol):
    """Assignment of examples to batches; `plan(epoch)` returns one item for each batch of
    an epoch.
    """

    def __len__(self) -> int:
        """Number of batches in an epoch, over all ranks."""

    def __call__(self, epoch: int) -> Sequence:
        """Return the items from which the dataset makes the batches of an epoch, such as indices of
        rows or start positions of windows.
        """


def rank_stream(
    trainer: Trainer, plan: BatchPlan, position: Callable[[], int], overfit_batches: int | float
) -> BatchStream:
    """Return this rank's share of the batches of `plan`, from the current position onwards.

    Args:
        position: returns the number of micro-batches that all ranks have trained on.
        overfit_batches: as in `TaskData`.
    """
    rank, world = data_share(trainer)
    n_batch = len(plan)
    epoch: Callable[[int], Sequence] = plan
    if overfit_batches:
        n_batch = min(n_batch, limited(max(1, n_batch // world), overfit_batches) * world)
        kept = plan(0)[:n_batch]
        epoch = lambda _: kept  # noqa: E731
    return BatchStream(
        epoch,
        n_batch,
        position,
        rank,
        world,
        trainer.accumulate_grad_batches,
        trainer.limit_train_batches,
    )


def rank_share(trainer: Trainer, batches: Sequence[Item]) -> list[Item] | list[list[int]]:
    """Return this rank's share of the batches. A rank without batches gets one empty batch, since
    Lightning would otherwise skip its collective calls.
    """
    rank, number = data_share(trainer)
    own = list(batches[rank::number])
    return own if own else [list[int]()]


def batch_loader(
    trainer: Trainer, dataset: object, sampler: Iterable | None, num_workers: int
) -> DataLoader:
    """Return a DataLoader whose dataset makes whole batches.

    Args:
        trainer: memory is pinned if it trains on a GPU.
        dataset: `dataset[item]` is the batch of an item of the sampler; without a sampler, an
            iterable of batches.
        sampler: yields the items in order; None if the dataset is an iterable.
        num_workers: number of loader processes.
    """
    pin = trainer.accelerator.__class__.__name__ == "CUDAAccelerator"
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # a mapping from items to batches, not from numbers
        sampler=sampler,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin,
    )


def evaluation_loader(batches: Sequence[Sequence[Example]]) -> DataLoader:
    """Return a DataLoader of this rank's evaluation batches. A rank without examples gets one empty
    batch, as in `rank_share`.
    """
    together = [EvaluationBatch(batch) for batch in batches or [[]]]
    return DataLoader(together, batch_size=None)  # type: ignore[arg-type]  # a list is a dataset
