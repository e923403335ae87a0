"""A stream as a loader of Lightning's."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lslm_lightning.data.lanes import Lanes, StreamCursor


class StreamBatch(NamedTuple):
    """Windows of running text, as in WindowBatch, and where they end in the stream."""

    ids: Tensor  # (B, T + 1)
    n_token: int
    n_source_token: int
    lane: int
    place: StreamCursor
    follows: None = None


class StreamedWindows(IterableDataset):
    """One rank's share of a stream, without an end; see `Lanes`.

    Where it starts is asked at each `iter`: what was *trained on*, however far a loader had read
    ahead.
    """

    def __init__(
        self,
        lanes: Lanes,
        position: Callable[[], int] | None,
        places: dict[int, StreamCursor],
        rank: int,
        world: int,
        n_worker: int,
    ) -> None:
        if lanes.n_lane % (world * max(1, n_worker)):
            raise ValueError(
                f"data.n_lane={lanes.n_lane} must be a multiple of the {world} processes times "
                f"data.num_workers={n_worker}, so that each"
                " reads its own part; set "
                f"{world * max(1, n_worker) * -(-lanes.n_lane // (world * max(1, n_worker)))}"
            )
        self.lanes = lanes
        self.position = position
        self.places = places
        self.rank = rank
        self.world = world
        self._begin = 0

    def __iter__(self) -> Iterator[StreamBatch]:
        worker = get_worker_info()
        part, n_part = (worker.id, worker.num_workers) if worker else (0, 1)
        position = self._begin if self.position is None else self.position()
        for ids, lane, place in self.lanes.share(
            position, self.places, self.rank, self.world, part, n_part
        ):
            n_token = int((ids[:, 1:] != self.lanes.tokenizer.pad_id).sum())
            yield StreamBatch(torch.from_numpy(ids), n_token, 0, lane, place)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is no fork is told where to begin."""
        return {**self.__dict__, "_begin": self.position(), "position": None}
