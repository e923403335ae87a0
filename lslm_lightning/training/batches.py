"""Batches as named tuples, and ragged rows of ids from which they are made."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.contracts import Example


class PairBatch(NamedTuple):
    """Padded source and target texts. Ids are int64, and padding is on the right."""

    source: Tensor  # (B, S) to </s>
    source_pad: Tensor  # (B, S) bool, True where padded
    target: Tensor  # (B, T) from <s> to </s>
    n_token: int  # target tokens to predict: all but <s> and padding
    n_source_token: int


class WindowBatch(NamedTuple):
    """Windows of running text. Ids are int64. In each window all ids except the last are inputs,
    and all except the first are targets.
    """

    ids: Tensor  # (B, T + 1)
    n_token: int  # targets without padding, at most B * T
    n_source_token: int = 0
    # True if contiguous rows continue the batch before, None for windows in random order
    follows: bool | None = None


class EvaluationBatch:
    """Examples to answer together. Lightning passes the object on unchanged."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples


class Ragged:
    """Rows of ids of different lengths in one flat array; `ragged[i]` is a view of row i, int32.

    Attributes:
        lengths: number of ids in each row, (n_row,) int64.
    """

    def __init__(self, rows: Iterable[Sequence[int] | np.ndarray]) -> None:
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        self.lengths = np.array([len(a) for a in arrays], dtype=np.int64)
        self._flat = np.concatenate([*arrays, np.zeros(0, dtype=np.int32)])
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        return self._flat[self._starts[i] : self._starts[i + 1]]

    def select(self, keep: np.ndarray) -> "Ragged":
        """Return the rows for which `keep` (n_row,) bool is True."""
        return Ragged(self[i] for i in np.flatnonzero(keep).tolist())


def padded(rows: Sequence[Sequence[int] | np.ndarray], pad_id: int) -> Tensor:
    """Return rows of ids as one (B, longest) int64 tensor, padded with `pad_id` on the right."""
    out = np.full((len(rows), max(map(len, rows), default=0)), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


BatchT = TypeVar("BatchT", bound=tuple)


def on_device(batch: BatchT, device: torch.device) -> BatchT:
    """Return a batch, which is a named tuple, with all of its tensors on the device."""
    values = (value.to(device) if isinstance(value, Tensor) else value for value in batch)
    return type(batch)(*values)


class Batch(Protocol):
    """Micro-batch of any task, a named tuple, with the fields that the training loop reads."""

    def __iter__(self) -> Iterator[object]: ...

    @property
    def n_token(self) -> int:
        """Number of target tokens over which the loss is averaged."""

    @property
    def n_source_token(self) -> int:
        """Number of source tokens, or of frames in speech."""


def total_tokens(batch: Batch) -> int:
    """Return the number of source and target tokens of a batch (frames are source tokens), which
    the throughput of a training and of its plan counts.
    """
    return batch.n_token + batch.n_source_token


def unpadded(ids: Tensor, pad_id: int) -> list[list[int]]:
    """Return the rows of padded ids (B, T), without padding."""
    return [[index for index in row if index != pad_id] for row in ids.tolist()]
