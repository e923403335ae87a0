"""States of a language model after prompts, for prompts that begin with the same tokens."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lslm_lightning.decoding.search import Nested, reorder

LEAST = 16  # tokens that prompts must share; fewer are read as fast
N_BYTE = 256 * 2**20  # of all states
Prefix = Callable[[Nested, int], Nested]


class PromptCache:
    """States after the prompts that were read last, the least recently used of which are dropped.

    Args:
        prefix: function `prefix(state, n)` that returns the state after the first n tokens; None if
            the state does not hold it.
        n_byte: most bytes of all states.
    """

    def __init__(self, prefix: Prefix, n_byte: int = N_BYTE) -> None:
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
        own = pytree.tree_map_only(Tensor, torch.clone, own)
        size = sum(
            part.numel() * part.element_size()
            for part in pytree.tree_leaves(own)
            if isinstance(part, Tensor)
        )
        if size > self.n_byte:
            return
        self._states[key] = (own, size)
        self._size += size
        while self._size > self.n_byte:
            _, (_, dropped) = self._states.popitem(last=False)
            self._size -= dropped


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
