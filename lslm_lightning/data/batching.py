"""Assignment of examples to batches as a pure function of (seed, epoch), and a stream of batches
that is divided among any number of ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

LENGTH_STEP = 2
Item = TypeVar("Item")
"""Batch of a plan, such as an array of example indices."""


def _rounded(length: np.ndarray) -> np.ndarray:
    """Return the lengths rounded up to multiples of `LENGTH_STEP`."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


class TokenBudget:
    """Plan of batches of at most `max_tokens` padded positions, made of examples of similar length.

    Lengths are rounded up to even numbers. In each epoch the examples are sorted by rounded length,
    with examples of equal length in random order, and cut into batches. The cuts depend on the
    rounded lengths only. Therefore every epoch has the same number of batches and contains each
    example once, and the batches are a pure function of (seed, epoch).

    Args:
        lengths: (N, sides) number of positions of each example on each side (source, target); sides
            are padded separately.
        max_tokens: upper bound on rows * (sum over sides of the longest example). An example longer
            than this forms a batch of its own.
    """

    def __init__(self, lengths: np.ndarray, max_tokens: int, seed: int = 0) -> None:
        if max_tokens < 1:
            raise ValueError(
                f"max_tokens={max_tokens} must be at least 1; 2048 to 8192 suit one device"
            )
        if len(lengths) == 0:
            raise ValueError(
                "no training example is left: check the corpus and the maximal lengths in the "
                "config"
            )
        self.lengths = np.asarray(lengths).reshape(len(lengths), -1)
        self.seed = seed
        rounded = _rounded(self.lengths)
        self._keys = np.ravel_multi_index(rounded.T, rounded.max(0) + 1)
        self._cuts = self._cut(rounded[np.argsort(self._keys, kind="stable")], max_tokens)

    @staticmethod
    def _cut(ordered: np.ndarray, max_tokens: int) -> np.ndarray:
        """Return the index of the first row of each batch except the first batch.

        Args:
            ordered: (N, sides) rounded lengths in their final order.
        """
        cuts = []
        start = 0
        longest = np.zeros(ordered.shape[1], dtype=np.int64)
        for i, row in enumerate(ordered):
            longest = np.maximum(longest, row)
            if i > start and (i + 1 - start) * longest.sum() > max_tokens:
                cuts.append(i)
                start = i
                longest = row
        return np.array(cuts, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._cuts) + 1

    def __call__(self, epoch: int) -> list[np.ndarray]:
        """Return the batches of an epoch in order: arrays of example indices."""
        random = np.random.default_rng((self.seed, epoch))
        shuffled = random.permutation(len(self.lengths))
        ordered = shuffled[np.argsort(self._keys[shuffled], kind="stable")]
        batches = np.split(ordered, self._cuts)
        return [batches[i] for i in random.permutation(len(batches))]

    def padding_share(self, epoch: int = 0) -> float:
        """Return the fraction (0..1) of the positions of an epoch that are padding."""
        padded = sum(len(batch) * self.lengths[batch].max(0).sum() for batch in self(epoch))
        return 1.0 - float(self.lengths.sum()) / float(padded)


class BatchStream(Generic[Item]):
    """Micro-batches of one rank from an endless stream: rank r of W takes the global micro-batches
    i * W + r.

    The stream runs through one epoch of `plan` after another. Each `iter` starts at `position()`,
    the number of global micro-batches *trained on* so far, so a resumed run continues exactly there
    even if the loader had read ahead.

    The length that a Trainer sees is the number of micro-batches of this rank in one epoch, rounded
    down to whole optimizer steps. Micro-batches beyond that are not dropped: they begin the next
    epoch of the Trainer. Two ranks take the same optimizer steps as one rank that accumulates 2
    micro-batches.

    Args:
        plan: returns the batches of an epoch, given its number.
        n_batch: number of batches in an epoch of `plan`.
        position: returns the number of global micro-batches trained on.
        rank: index of this process.
        world: number of processes.
        accumulate: number of micro-batches in an optimizer step.
        limit: batches of this rank in an epoch: an int is a number, a float a fraction of the
            length.
    """

    def __init__(
        self,
        plan: Callable[[int], Sequence[Item]],
        n_batch: int,
        position: Callable[[], int],
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        limit: int | float = 1.0,
    ) -> None:
        self.plan = plan
        self.n_batch = n_batch
        self.position = position
        self.rank = rank
        self.world = world
        self.accumulate = accumulate
        self.limit = limit
        self._epoch: tuple[int, Sequence[Item]] | None = None

    def __len__(self) -> int:
        return max(1, self.n_batch // (self.world * self.accumulate)) * self.accumulate

    @property
    def epoch_length(self) -> int:
        """Number of batches of this rank in an epoch, within `limit`."""
        return limited(len(self), self.limit)

    def __iter__(self) -> Iterator[Item]:
        done = self.position()
        for i in range(self.epoch_length - done // self.world % self.epoch_length):
            yield self[done + i * self.world + self.rank]

    def __getitem__(self, number: int) -> Item:
        """Return the global micro-batch with index `number`, counted over all epochs."""
        epoch, index = divmod(number, self.n_batch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.plan(epoch))
        return self._epoch[1][index]


def limited(n_batch: int, limit: int | float | None) -> int:
    """Return the number of batches that remain under a Trainer's limit.

    Args:
        limit: maximum number of batches (int), fraction of the batches (float), or None for no
            limit.
    """
    if limit is None:
        return n_batch
    return min(n_batch, limit) if isinstance(limit, int) else max(1, int(n_batch * limit))
