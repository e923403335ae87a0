"""Dataset of batches that are read from a stream of texts."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lslm_lightning.data.sharded_streams import ShardedStreams, StreamCursor
from lslm_lightning.types import StateDict


class StreamBatch(NamedTuple):
    """Windows of running text, as in `WindowBatch`, and their position in the stream.

    Attributes:
        lane: number of the lane that the windows come from; see `ShardedStreams`.
        place: position in the lane after these windows.
    """

    ids: Tensor  # (B, T + 1)
    n_token: int
    n_source_token: int
    lane: int
    place: StreamCursor
    follows: None = None


class StreamProgress:
    """Position after the last batch that was trained on, for each lane of a stream."""

    def __init__(self) -> None:
        self.positions: dict[int, StreamCursor] = {}

    def record(self, batch: StreamBatch) -> None:
        """Record that a training step has used the batch."""
        self.positions[batch.lane] = batch.place

    def gathered(self, world_size: int) -> StateDict:
        """Return the positions of all ranks as a state for checkpoints. Collective.

        Args:
            world_size: number of ranks.
        """
        shares: list[dict[int, StreamCursor]] = [self.positions]
        if world_size > 1:
            shares = [{}] * world_size
            torch.distributed.all_gather_object(shares, self.positions)
        positions: dict[int, StreamCursor] = {}
        # a resumed rank has outdated positions for the lanes of other ranks
        for share in shares:
            for lane, position in share.items():
                positions[lane] = max(position, positions.get(lane, position))
        return {"places": {lane: tuple(position) for lane, position in positions.items()}}

    def load(self, state: StateDict) -> None:
        """Restore the positions that `gathered` returned."""
        self.positions |= {
            lane: StreamCursor(*position) for lane, position in state["places"].items()
        }


class StreamedWindows(IterableDataset):
    """Endless dataset of one rank's share of a stream; see `ShardedStreams`.

    Each `iter` starts after the last batch that was trained on, even if a loader has read further
    ahead.

    Args:
        lanes: the stream, divided into lanes.
        position: returns the number of micro-batches that all ranks have trained on.
        positions: position after the last batch that was trained on, by lane.
        rank, world: number of this process, and number of processes.
        n_worker: number of loader processes of each process.
    """

    def __init__(
        self,
        lanes: ShardedStreams,
        position: Callable[[], int] | None,
        positions: dict[int, StreamCursor],
        rank: int,
        world: int,
        n_worker: int,
    ) -> None:
        n_reader = world * max(1, n_worker)
        if lanes.n_lane % n_reader:
            raise ValueError(
                f"data.n_lane={lanes.n_lane} must be a multiple of the {world} processes times "
                f"data.num_workers={n_worker}, so that each reads lanes of its own; try "
                f"{n_reader * -(-lanes.n_lane // n_reader)}"
            )
        self.lanes = lanes
        self.position = position
        self.positions = positions
        self.rank = rank
        self.world = world
        self._start = 0

    def __iter__(self) -> Iterator[StreamBatch]:
        worker = get_worker_info()
        part, n_part = (worker.id, worker.num_workers) if worker else (0, 1)
        position = self._start if self.position is None else self.position()
        for ids, lane, place in self.lanes.share(
            position, self.positions, self.rank, self.world, part, n_part
        ):
            n_token = int((ids[:, 1:] != self.lanes.tokenizer.pad_id).sum())
            yield StreamBatch(torch.from_numpy(ids), n_token, 0, lane, place)

    def __getstate__(self) -> StateDict:
        """Return the attributes to pickle for a spawned loader process. The function `position` is
        replaced by its current result.
        """
        start = self._start if self.position is None else self.position()
        return {**self.__dict__, "_start": start, "position": None}
