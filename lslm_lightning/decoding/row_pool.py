"""Nested tensors whose rows join and leave a running batch.

Axes: N rows in use, C rows that a buffer has room for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lslm_lightning.decoding.search import Nested


class RowPool:
    """Nested tuple of batch-first tensors, such as the state of a model, whose rows join and leave.

    The rows lie in buffers with room for more, so that a row that joins or leaves is copied once,
    and the others are not. Tensors of rows that join may be smaller or larger in the other axes:
    they are padded on the right, masks with True and numbers with 0, so that padding is masked.

    Attributes:
        n_row: number of rows.
        rows: the nested tuple with its rows; None while there is none.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all rows and their buffers."""
        self.n_row = 0
        self._structure: pytree.TreeSpec | None = None
        self._parts: list[Tensor | None] = []  # (N, ...) each, views of `_buffers` where possible
        self._buffers: list[Tensor | None] = []  # (C, ...) each
        self._spare: list[Tensor | None] = []  # other buffers, into which rows are reordered

    @property
    def rows(self) -> Nested:
        if self._structure is None or not self.n_row:
            return None
        return pytree.tree_unflatten(self._parts, self._structure)

    def update(self, nested: Nested) -> None:
        """Replace the rows by those that a step returned."""
        self._parts = pytree.tree_flatten(nested)[0]

    def join(self, nested: Nested, n_new: int) -> None:
        """Append rows.

        Args:
            nested: nested tuple of the same structure with the new rows.
            n_new: number of new rows.
        """
        parts, structure = pytree.tree_flatten(nested)
        if not self.n_row:
            self._structure = structure
            self._parts = [None if part is None else part[:0] for part in parts]
            self._buffers = [None] * len(parts)
            self._spare = [None] * len(parts)
        n_all = self.n_row + n_new
        for i, (part, new) in enumerate(zip(self._parts, parts, strict=True)):
            if part is None or new is None:
                continue
            sizes = [max(pair) for pair in zip(part.shape[1:], new.shape[1:], strict=True)]
            room = self._buffers[i]
            if not self._has_room(i, n_all, sizes):
                n_room = len(room) if room is not None else 0
                n_room = max(n_all, 2 * self.n_row) if n_all > n_room else n_room
                room = empty(part, n_room, sizes)
                corner(room, part).copy_(part)
                self._buffers[i] = room
                self._spare[i] = None
            assert room is not None
            if list(room.shape[1:]) != list(new.shape[1:]):
                room[self.n_row : n_all] = room.dtype == torch.bool
            corner(room[self.n_row : n_all], new).copy_(new)
            self._parts[i] = room[:n_all]
        self.n_row = n_all

    def leave(self, gone: Sequence[int]) -> list[int]:
        """Remove rows; the last rows take their places. Return for each remaining row the index
        that it had before.

        Args:
            gone: indices of the rows that leave.
        """
        order = moved(self.n_row, gone)
        self.n_row = len(order)
        if not order:
            self.clear()
            return order
        to = [i for i, origin in enumerate(order) if origin != i]
        origin = [order[i] for i in to]
        for i, part in enumerate(self._parts):
            if part is not None:
                if to:
                    part[to] = part[origin]
                self._parts[i] = part[: self.n_row]
        return order

    def reorder(self, index: Tensor) -> None:
        """Replace the rows by the rows `index` (M,), which may repeat and leave out rows."""
        for i, part in enumerate(self._parts):
            if part is None:
                continue
            spare = self._spare[i]
            if spare is None or len(spare) < len(index) or spare.shape[1:] != part.shape[1:]:
                spare = empty(part, max(len(index), self.n_row), part.shape[1:])
            torch.index_select(part, 0, index.to(part.device), out=spare[: len(index)])
            self._parts[i] = spare[: len(index)]
            self._buffers[i], self._spare[i] = spare, self._buffers[i]
        self.n_row = len(index)
        if not self.n_row:
            self.clear()

    def _has_room(self, i: int, n_all: int, sizes: Sequence[int]) -> bool:
        """Return whether the rows of part `i` lie in its buffer, which has room for `n_all` rows
        with the other axes `sizes`.
        """
        part = self._parts[i]
        room = self._buffers[i]
        return (
            part is not None
            and room is not None
            and part.data_ptr() == room.data_ptr()
            and len(room) >= n_all
            and list(room.shape[1:]) == list(sizes) == list(part.shape[1:])
        )


def moved(n_row: int, gone: Sequence[int]) -> list[int]:
    """Return the old index of each row that remains of `n_row` rows, when the last ones take the
    places of those that are `gone`.
    """
    order = list(range(n_row))
    for i in sorted(gone, reverse=True):
        last = order.pop()
        if i < len(order):
            order[i] = last
    return order


def empty(like: Tensor, n_row: int, sizes: Sequence[int]) -> Tensor:
    """Return a buffer (n_row, *sizes) of padding: True in a mask, else 0."""
    return like.new_full((n_row, *sizes), like.dtype == torch.bool)


def corner(room: Tensor, part: Tensor) -> Tensor:
    """Return the view of a buffer that has the shape of `part` and begins at index 0 of each
    axis.
    """
    return room[tuple(slice(size) for size in part.shape)]
