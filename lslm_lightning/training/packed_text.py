"""Row of ids as batches of windows. B rows of a batch, T context."""

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
    """Row of ids, of which `row[item]` is a batch of windows of `context` + 1 ids."""

    def __init__(self, ids: IdArray, context: int, pad_id: int) -> None:
        self.ids = ids
        self.context = context
        self.pad_id = pad_id

    @abstractmethod
    def __getitem__(self, item: Item) -> WindowBatch:
        """Return the batch of an item of a sampler."""

    def positions(self, starts: Starts) -> np.ndarray:
        """Return the positions (B, T + 1) in the row of the windows that begin at `starts`."""
        return np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.context + 1)

    def windows(self, starts: Starts) -> WindowBatch:
        """Return the windows that begin at `starts`, padded with `pad_id` after the end of the
        row.
        """
        positions = self.positions(starts)
        inside = positions < len(self.ids)
        ids = np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], self.pad_id)
        return WindowBatch(torch.from_numpy(ids.astype(np.int64)), int(inside[:, 1:].sum()))


class PackedText(PackedIds[Starts]):
    """Row of ids, of which `text[starts]` is a batch of the windows that begin at `starts`."""

    def __getitem__(self, starts: Starts) -> WindowBatch:
        return self.windows(starts)


class SequentialTokens(PackedIds[Piece]):
    """Row of ids, of which `text[piece]` is the batch of a `Piece` of contiguous windows."""

    def __getitem__(self, piece: Piece) -> WindowBatch:
        return self.windows(piece.starts)._replace(follows=piece.follows)


class CircularTokens(PackedIds[Piece]):
    """Circular row of ids, of which `text[piece]` is the batch of a `Piece`; after the last id,
    which equals the first one, the row begins again.
    """

    def __getitem__(self, piece: Piece) -> WindowBatch:
        ids = self.ids[self.positions(piece.starts) % (len(self.ids) - 1)]
        return WindowBatch(
            torch.from_numpy(ids.astype(np.int64)), ids[:, 1:].size, follows=piece.follows
        )


class WholeTexts(PackedIds[tuple[int, int]]):
    """Row of ids, of which `texts[start, end]` is a batch of one row: the ids from `start` to
    `end`, inclusive.
    """

    def __getitem__(self, span: tuple[int, int]) -> WindowBatch:
        start, end = span or (0, 0)
        return WindowBatch(
            torch.from_numpy(self.ids[np.arange(start, end + 1)].astype(np.int64))[None],
            end - start,
        )
