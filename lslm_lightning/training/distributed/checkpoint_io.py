"""Atomic writing of checkpoints, and reading of those written by any number of processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer
from torch import nn

from lslm_lightning.runs.checkpoint_folder import INDEX, read_parts
from lslm_lightning.runs.directory import earlier
from lslm_lightning.runs.states import (
    META,
    checksum,
    draft_of_checkpoint,
    is_draft,
    link,
    put,
    read_state,
    remove,
    synchronize,
    write_checksums,
)
from lslm_lightning.runs.weights import read_checkpoint
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.training.distributed.fsdp import GROUPS, decayed_names, local, with_numbers
from lslm_lightning.training.token_gradients import NotFiniteError
from lslm_lightning.types import StateDict


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes each checkpoint file under a temporary name and renames it, and
    also reads checkpoint folders written by several processes.

    Every save through the Trainer, also by Lightning's callbacks, leaves either the complete old
    file or the complete new one.

    Args:
        task: the task that is trained. Its parameter names are needed to read optimizer states from
            a folder.
    """

    def __init__(self, task: nn.Module) -> None:
        self.task = task

    def save_checkpoint(
        self, checkpoint: StateDict, path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint file.

        Raises:
            OSError: the checkpoint cannot be written; the file at `path` is unchanged.
            TypeError: there are storage options.
        """
        path = Path(path)
        if is_draft(path):  # the caller renames it
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_file(path) as draft:
            super().save_checkpoint(checkpoint, draft, storage_options)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., object] | None = None,
        weights_only: bool | None = None,
    ) -> StateDict:
        """Return the content of a checkpoint file or folder on the CPU, with optimizer states keyed
        by parameter number.

        Raises:
            ValueError: it is not a checkpoint, or contains more than data.
        """
        path = Path(path)
        saved = read_checkpoint(path)
        if not path.is_dir():
            return saved
        names = decayed_names(self.task)
        parts = read_parts(path, [f"optimizer_{i}" for i in range(len(saved.get(GROUPS, [])))])
        states = [
            {"state": parts[f"optimizer_{i}"]["state"], "param_groups": groups}
            for i, groups in enumerate(saved.pop(GROUPS, []))
        ]
        return saved | {"optimizer_states": [with_numbers(state, names) for state in states]}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a checkpoint file to. At the end the file is renamed to
    `path`; after an error it is removed.
    """
    draft = draft_of_checkpoint(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        permit_as_usual(draft)
        synchronize(draft)
        put(draft, path)
        synchronize(path.parent)
    finally:
        remove(draft)


def save_atomically(trainer: Trainer, path: Path, n_kept: int = 1) -> None:
    """Save a checkpoint under a temporary name and rename it, so that `path` always is a complete
    checkpoint. All ranks must call this function.

    Args:
        path: file, written by rank 0, or folder, of which each rank writes a part.
        n_kept: number of checkpoints to keep. Previous ones get names such as "last-1.ckpt".

    Raises:
        NotFiniteError: a weight is nan or infinite; the files on disk are unchanged.
        OSError: raised on every rank if one rank cannot write; the files on disk are unchanged.
    """
    check_finite_weights(trainer)
    draft = draft_of_checkpoint(path)
    if trainer.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(draft)  # left by a killed process
    trainer.strategy.barrier("part")
    try:
        trainer.save_checkpoint(draft)
        sums = checksums_of_parts(trainer, draft) if draft.is_dir() else {}
        if trainer.is_global_zero:
            if draft.is_dir():
                write_checksums(draft, sums)
            else:
                permit_as_usual(draft)
            synchronize(draft)
            keep_earlier(path, n_kept)
            put(draft, path)
            synchronize(path.parent)
    finally:
        if trainer.is_global_zero:
            remove(draft)


def check_finite_weights(trainer: Trainer) -> None:
    """Raise NotFiniteError on every rank if a weight on any rank is nan or infinite. Collective."""
    parameters = trainer.lightning_module.parameters()
    broken = not all(bool(local(p).isfinite().all()) for p in parameters)
    n_broken = torch.tensor(float(broken), device=trainer.strategy.root_device)
    if trainer.strategy.reduce(n_broken, reduce_op="sum"):
        raise NotFiniteError(
            f"the weights are not finite at step {trainer.global_step}; lower "
            "model.optimizer.lr or trainer.gradient_clip_val"
        )


def keep_earlier(path: Path, n_kept: int) -> None:
    """Keep the checkpoint at `path`, which is about to be replaced, and previous ones under names
    such as "last-1.ckpt".

    Args:
        n_kept: number of checkpoints to keep, including the new one.
    """
    for i in range(n_kept - 1, 0, -1):
        before = path if i == 1 else earlier(path, i - 1)
        if before.exists():
            link(before, earlier(path, i))


def checksums_of_parts(trainer: Trainer, folder: Path) -> dict[str, int]:
    """Return the CRC-32 of every file of a checkpoint folder by file name, after all processes have
    flushed the files they wrote to disk. Collective.

    Raises:
        ValueError: rank 0 does not see all of the files.
    """
    written = [
        *folder.glob(f"__{trainer.global_rank}_*"),
        *(folder / name for name in (INDEX, META) if trainer.is_global_zero),
    ]
    for path in written:
        synchronize(path)
    own_sums = {path.name: checksum(path) for path in written}
    shares: list[dict[str, int]] = [own_sums]
    if trainer.world_size > 1:
        shares = [{}] * trainer.world_size
        torch.distributed.all_gather_object(shares, own_sums)
    sums = {name: value for share in shares for name, value in share.items()}
    missing = [name for name in sums if trainer.is_global_zero and not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"{folder} lacks {missing[0]}, which another machine wrote: `job.root` must be a "
            "folder that all machines share"
        )
    return sums


def mean_of_weights(paths: Sequence[Path]) -> StateDict:
    """Return the newest of several checkpoints, with its weights replaced by their mean over all of
    the checkpoints (Vaswani et al. 2017, section 6.1), summed in float64.

    Args:
        paths: checkpoints, the newest last.
    """
    newest = read_state(paths[-1])
    sums = {
        name: w.double() if w.is_floating_point() else w for name, w in newest["state_dict"].items()
    }
    for path in paths[:-1]:
        state = read_state(path)["state_dict"]
        for name, total in sums.items():
            if total.is_floating_point():
                total += state[name].double()
    kept = newest["state_dict"]
    newest["state_dict"] = {
        n: (s / len(paths)).to(kept[n].dtype) if s.is_floating_point() else s
        for n, s in sums.items()
    }
    return newest
