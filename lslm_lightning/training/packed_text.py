"""Row of ids as batches of windows. B rows of a batch, T context."""

from collections.abc import Sequence

import numpy as np
import torch

from lslm_lightning.data.packing import Piece
from lslm_lightning.training.batches import WindowBatch


class PackedText:
    """Row of ids, of which `text[starts]` is a batch of windows of `context` + 1 ids, padded with
    `pad_id` after the end of the row.
    """

    def __init__(self, ids: np.ndarray, context: int, pad_id: int) -> None:
        self.ids = ids
        self.context = context
        self.pad_id = pad_id

    def positions(self, starts: Sequence[int]) -> np.ndarray:
        """Return the positions (B, T + 1) in the row of the windows that begin at `starts`."""
        return np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.context + 1)

    def __getitem__(self, starts: Sequence[int]) -> WindowBatch:
        positions = self.positions(starts)
        inside = positions < len(self.ids)
        ids = np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], self.pad_id)
        return WindowBatch(torch.from_numpy(ids.astype(np.int64)), int(inside[:, 1:].sum()))


class TextInOrder(PackedText):
    """Row of ids, of which `text[piece]` is the batch of a `Piece` of contiguous windows."""

    def __getitem__(self, piece: Piece) -> WindowBatch:
        return super().__getitem__(piece.starts)._replace(follows=piece.follows)


class Ring(PackedText):
    """Circular row of ids, of which `text[piece]` is the batch of a `Piece`; after the last id,
    which equals the first one, the row begins again.
    """

    def __getitem__(self, piece: Piece) -> WindowBatch:
        ids = self.ids[self.positions(piece.starts) % (len(self.ids) - 1)]
        return WindowBatch(
            torch.from_numpy(ids.astype(np.int64)), ids[:, 1:].size, follows=piece.follows
        )


class WholeTexts(PackedText):
    """Row of ids, of which `texts[start, end]` is a batch of one row: the ids from `start` to
    `end`, inclusive.
    """

    def __getitem__(self, span: tuple[int, int]) -> WindowBatch:
        start, end = span or (0, 0)
        return WindowBatch(
            torch.from_numpy(self.ids[np.arange(start, end + 1)].astype(np.int64))[None],
            end - start,
        )
