"""Batches of windows cut from one long row of token ids. B windows in a batch, T context."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import torch

from lslm_lightning.data.packing import Piece
from lslm_lightning.training.batches import WindowBatch

Starts: TypeAlias = Sequence[int] | np.ndarray
Item = TypeVar("Item")


class IdArray(Protocol):
    """One-dimensional array of ids: in memory, memory-mapped, or in several files."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: np.ndarray) -> np.ndarray: ...


class PackedIds(ABC, Generic[Item]):
    """Long row of token ids; `row[item]` is a batch of windows of `context` + 1 ids.

    Args:
        ids: the row.
        context: number of ids that a window reads and predicts.
        pad_id: id that fills windows after the end of the row.
    """

    def __init__(self, ids: IdArray, context: int, pad_id: int) -> None:
        self.ids = ids
        self.context = context
        self.pad_id = pad_id

    @abstractmethod
    def __getitem__(self, item: Item) -> WindowBatch:
        """Return the batch that an item of the sampler describes."""

    def positions(self, starts: Starts) -> np.ndarray:
        """Return the positions in the row, (B, T + 1), of the ids in the windows that begin at
        `starts`.
        """
        return np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.context + 1)

    def windows(self, starts: Starts) -> WindowBatch:
        """Return the windows that begin at `starts`, padded with `pad_id` after the end
        of the row.
        """
        positions = self.positions(starts)
        inside = positions < len(self.ids)
        ids = np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], self.pad_id)
        return WindowBatch(torch.from_numpy(ids.astype(np.int64)), int(inside[:, 1:].sum()))


class PackedText(PackedIds[Starts]):
    """Row of ids; `text[starts]` is the batch of the windows that begin at the positions
    `starts`.
    """

    def __getitem__(self, starts: Starts) -> WindowBatch:
        return self.windows(starts)


class SequentialTokens(PackedIds[Piece]):
    """Row of ids that is read in order; `text[piece]` is the batch of contiguous windows that a
    `Piece` describes.
    """

    def __getitem__(self, piece: Piece) -> WindowBatch:
        return self.windows(piece.starts)._replace(follows=piece.follows)


class CircularTokens(PackedIds[Piece]):
    """Row of ids that is read in order, and from its beginning again after its end; `text[piece]`
    is the batch that a `Piece` describes. The last id of the row must equal the first.
    """

    def __getitem__(self, piece: Piece) -> WindowBatch:
        ids = self.ids[self.positions(piece.starts) % (len(self.ids) - 1)]
        return WindowBatch(
            torch.from_numpy(ids.astype(np.int64)), ids[:, 1:].size, follows=piece.follows
        )


class WholeTexts(PackedIds[tuple[int, int]]):
    """Row of ids; `texts[start, end]` is a batch of one row with the ids at positions `start` to
    `end`, inclusive.
    """

    def __getitem__(self, span: tuple[int, int]) -> WindowBatch:
        start, end = span or (0, 0)
        return WindowBatch(
            torch.from_numpy(self.ids[np.arange(start, end + 1)].astype(np.int64))[None],
            end - start,
        )
