"""States of a language model after prompts, for prompts that begin with the same tokens."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lslm_lightning.decoding.search import Nested, reorder

LEAST = 16  # tokens that prompts must share; fewer are read as fast
# of all states: as many as the weights have, but not fewer or more
LEAST_BYTE = 64 * 2**20
MOST_BYTE = 256 * 2**20
Prefix = Callable[[Nested, int], Nested]


class PromptCache:
    """States after the prompts that were read last, the least recently used of which are dropped.

    Args:
        prefix: function `prefix(state, n)` that returns the state after the first n tokens; None if
            the state does not hold it.
        n_byte: most bytes of all states.
    """

    def __init__(self, prefix: Prefix, n_byte: int) -> None:
        self.prefix = prefix
        self.n_byte = n_byte
        self._states: OrderedDict[tuple[int, ...], tuple[Nested, int]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._states)

    def find(self, ids: Sequence[int]) -> tuple[int, Nested]:
        """Return the number of first ids of a prompt, less than all, whose state is known, and this
        state: (0, None) if it is of too few.
        """
        best = 0
        best_key: tuple[int, ...] = ()
        for key in self._states:
            n = common(key, ids, best)
            if n > best:
                best, best_key = n, key
        best = min(best, len(ids) - 1)
        if best < LEAST:
            return 0, None
        self._states.move_to_end(best_key)
        state = self.prefix(self._states[best_key][0], best)
        return (0, None) if state is None else (best, state)

    def add(self, ids: Sequence[int], state: Nested, row: int) -> None:
        """Keep a copy of the state after a prompt.

        Args:
            row: index of the row of `state` that has read the prompt.
        """
        key = tuple(ids)
        if len(key) < LEAST or key in self._states:
            return
        own = self.prefix(reorder(state, torch.tensor([row])), len(key))
        if own is None:
            return
        own, size = in_one_piece(own)
        if size > self.n_byte:
            return
        self._states[key] = (own, size)
        self._size += size
        while self._size > self.n_byte:
            _, (_, dropped) = self._states.popitem(last=False)
            self._size -= dropped


def in_one_piece(state: Nested) -> tuple[Nested, int]:
    """Return a copy of a state whose tensors lie in one buffer, and the bytes of the buffer.

    Thousands of small blocks that live long would each keep the pages at their ends in use.
    """
    parts, structure = pytree.tree_flatten(state)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    starts = list(accumulate((-(-part.nbytes // 64) * 64 for part in tensors), initial=0))
    if not tensors:
        return state, 0
    buffer = torch.empty(starts[-1], dtype=torch.uint8, device=tensors[0].device)
    copies = iter(
        [
            buffer[at : at + part.nbytes].view(part.dtype).view(part.shape).copy_(part)
            for at, part in zip(starts, tensors, strict=False)
        ]
    )
    own = [next(copies) if isinstance(part, Tensor) else part for part in parts]
    return pytree.tree_unflatten(own, structure), starts[-1]


def common(first: Sequence[int], second: Sequence[int], least: int) -> int:
    """Return the number of leading ids that both rows share; 0 if they do not share `least` + 1.

    Comparing slices first makes most rows cost one comparison.
    """
    if first[: least + 1] != tuple(second[: least + 1]):
        return 0
    n = least + 1
    for a, b in zip(first[n:], second[n:], strict=False):
        if a != b:
            break
        n += 1
    return min(n, len(first), len(second))
