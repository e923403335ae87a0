"""Training windows from streamed documents: the same batches in the same order for any number of
processes, resumable after every batch.
"""

from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from lslm_lightning.data.stream import Stream
from lslm_lightning.text.tokenizer import Tokenizer


class StreamCursor(NamedTuple):
    """Position of the next batch in one lane, to resume reading there."""

    shard: int = 0  # of those that come to this index, in all epochs
    block: int = 0  # of that shard
    batch: int = 0  # of that block, the next to be read


START = StreamCursor()


class ShardedStreams:
    """Lanes, which are endless sequences of batches of training windows, over a stream of
    documents.

    Global micro-batch g comes from lane g mod `n_lane`. One of W processes reads only its own lanes
    if W divides `n_lane`.

    Each lane takes `buffer` documents (a block) at a time from one shard and shuffles them. They
    are packed with `</s>` after each document and once before the first, and cut into windows,
    which are shuffled too; only one block is in memory. The last window of a block is padded, so
    that every token is seen exactly once in an epoch. The order of the shards changes with every
    epoch. All of this is a pure function of (seed, epoch, shard, block), so a `StreamCursor`
    suffices to resume.

    With at least `n_lane` shards, the shards of all epochs are dealt out to the lanes in turn. With
    fewer shards, every lane reads all shards and uses every `n_lane`-th block, a different one in
    the next epoch. In the long run every document is seen equally often in both cases.

    Args:
        context: number of targets in a window.
        batch_size: number of windows in a batch.
        n_lane: number of lanes.
        buffer: number of documents in a block.
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
        """Yield (batch, cursor after the batch) of one lane, without end.

        A batch is a (B, context + 1) int64 array of ids; short rows are padded on the right.

        Args:
            index: number of the lane, from 0.
            cursor: position to start from.

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
        """True if there are fewer shards than lanes, so that every lane reads all shards."""
        return self.stream.n_shard < self.n_lane

    def shard(self, index: int, number: int) -> tuple[int, int]:
        """Return (epoch, shard index) of the `number`-th shard, from 0, that lane `index` reads."""
        n = self.stream.n_shard
        epoch, at = divmod(number if self.is_shared else number * self.n_lane + index, n)
        return epoch, int(
            np.random.default_rng(
                (self.seed, epoch, index if self.is_shared else self.n_lane)
            ).permutation(n)[at]
        )

    def batches(self, texts: list[str], epoch: int, shard: int, block: int) -> list[np.ndarray]:
        """Return the shuffled (B, context + 1) batches of the documents `texts`, which are block
        `block` of a shard.
        """
        random = np.random.default_rng((self.seed, epoch, shard, block))
        order = random.permutation(len(texts))
        shuffled = [self.stream.redacted(texts[i]) for i in order if self.stream.keeps(texts[i])]
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
        """Yield (batch, index of its lane, cursor after it) for one process or data-loader worker.

        The process takes the global micro-batches position + rank + i * world; of these, worker
        `part` takes every `n_part`-th.

        Args:
            position: number of global micro-batches already read by all processes.
            cursors: lane index -> position to resume from; absent lanes start at their first batch.
            rank: index of the process among `world` processes.
            part: index of the worker among `n_part` workers of this process.
        """
        readers: dict[int, Iterator[tuple[np.ndarray, StreamCursor]]] = {}
        for number in count(position + rank + part * world, world * n_part):
            index = number % self.n_lane
            if index not in readers:
                readers[index] = self.read(index, cursors.get(index, START))
            ids, cursor = next(readers[index])
            yield ids, index, cursor
