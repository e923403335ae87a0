"""Training windows from streamed documents: the same batches in the same order for any number of
processes, with a cursor to continue from after each.
"""

from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from lslm_lightning.data.stream import Stream
from lslm_lightning.text.tokenizer import Tokenizer


class StreamCursor(NamedTuple):
    """Position in one sequence of batches up to which it has been read."""

    shard: int = 0  # of those that come to this index, in all epochs
    block: int = 0  # of that shard
    batch: int = 0  # of that block, the next to be read


START = StreamCursor()


class ShardedStreams:
    """Endless sequences of batches of training windows over a stream; global micro-batch g comes
    from sequence g mod n_lane.

    Documents are taken in blocks of `buffer` from one shard. Those of a block are shuffled and
    packed, `</s>` after each and once before the first, into windows that are shuffled too, so that
    a sequence holds one block in memory; shards come in another order in every epoch. The last
    window of a block is padded: no token is left out, none is seen twice in an epoch. All is pure
    in (seed, epoch, shard, block), so a `StreamCursor` is enough to continue.

    Where there are at least `n_lane` shards, the shards of all epochs, one after the other, are
    dealt out to the sequences in turn; else every sequence reads all shards, and makes batches of
    each n_lane-th block, of other blocks in the next epoch. Either way every document is seen
    equally often in the long run. One of W processes reads only its own sequences if W divides
    n_lane.

    Args:
        context: targets of a window.
        batch_size: windows of a batch.
        n_lane: number of sequences.
        buffer: documents of a block.
    """

    def __init__(
        self,
        stream: Stream,
        tokenizer: Tokenizer,
        context: int,
        batch_size: int,
        seed: int = 0,
        n_lane: int = 16,
        buffer: int = 1000,
    ) -> None:
        for name, value in {
            "context": context,
            "batch_size": batch_size,
            "n_lane": n_lane,
            "buffer": buffer,
        }.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.stream = stream
        self.tokenizer = tokenizer
        self.context = context
        self.batch_size = batch_size
        self.seed = seed
        self.n_lane = n_lane
        self.buffer = buffer

    def read(
        self, index: int, cursor: StreamCursor = START
    ) -> Iterator[tuple[np.ndarray, StreamCursor]]:
        """Yield batches (B, context + 1) of ids int64 of a sequence, padded behind the end of a
        row, from `cursor` on, each with the cursor after it.

        Raises:
            ValueError: no document has any text.
        """
        first_shard, first_block, first_batch = cursor
        # shards since the last batch; the rest of the first may have none
        n_empty = 0 if cursor == START else -1
        for number in count(first_shard):
            epoch, shard = self.shard(index, number)
            documents = self.stream.documents(shard, first_block * self.buffer)
            for block in count(first_block):
                texts = list(islice(documents, self.buffer))
                if not texts:
                    break
                if self.is_shared and (block + shard + epoch) % self.n_lane != index:
                    continue
                for batch, ids in islice(
                    enumerate(self.batches(texts, epoch, shard, block)), first_batch, None
                ):
                    n_empty = -1
                    yield ids, StreamCursor(number, block, batch + 1)
                first_batch = 0
            first_block = 0
            n_empty += 1
            if n_empty == self.stream.n_shard * self.n_lane:
                raise ValueError(
                    f"{self.stream.path} has no text in {self.stream.n_shard} files that has "
                    "more than white space"
                )

    @property
    def is_shared(self) -> bool:
        """True if there are fewer shards than sequences, so that every sequence reads all
        shards.
        """
        return self.stream.n_shard < self.n_lane

    def shard(self, index: int, number: int) -> tuple[int, int]:
        """Return the epoch and the index of the shard that a sequence reads as its `number`-th,
        from 0 on.
        """
        n = self.stream.n_shard
        epoch, at = divmod(number if self.is_shared else number * self.n_lane + index, n)
        return epoch, int(
            np.random.default_rng(
                (self.seed, epoch, index if self.is_shared else self.n_lane)
            ).permutation(n)[at]
        )

    def batches(self, texts: list[str], epoch: int, shard: int, block: int) -> list[np.ndarray]:
        """Return the batches (B, context + 1) of one block of documents."""
        random = np.random.default_rng((self.seed, epoch, shard, block))
        shuffled = [texts[i] for i in random.permutation(len(texts)) if texts[i].strip()]
        eos = self.tokenizer.eos_id
        encoded = self.tokenizer.encode_batch(shuffled)
        ids = np.concatenate([[eos], *(part for row in encoded for part in (row, [eos]))]).astype(
            np.int64
        )
        n_window = -(-(len(ids) - 1) // self.context)
        positions = self.context * random.permutation(n_window)[:, None] + np.arange(
            self.context + 1
        )
        windows: np.ndarray = np.where(
            positions < len(ids), ids[np.minimum(positions, len(ids) - 1)], self.tokenizer.pad_id
        )
        return [windows[i : i + self.batch_size] for i in range(0, n_window, self.batch_size)]

    def share(
        self,
        position: int,
        cursors: Mapping[int, StreamCursor],
        rank: int = 0,
        world: int = 1,
        part: int = 0,
        n_part: int = 1,
    ) -> Iterator[tuple[np.ndarray, int, StreamCursor]]:
        """Yield (batch, index of its sequence, cursor after it) of the global micro-batches
        position + rank + i * world, and of these each n_part-th from `part` on.
        """
        readers: dict[int, Iterator[tuple[np.ndarray, StreamCursor]]] = {}
        for number in count(position + rank + part * world, world * n_part):
            index = number % self.n_lane
            if index not in readers:
                readers[index] = self.read(index, cursors.get(index, START))
            ids, cursor = next(readers[index])
            yield ids, index, cursor
