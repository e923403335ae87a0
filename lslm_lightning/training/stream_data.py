"""Stream of texts as a PyTorch dataset of batches."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lslm_lightning.data.lanes import Lanes, Place


class StreamBatch(NamedTuple):
    """Windows of running text, as in WindowBatch, with the stream position at which they end."""

    ids: Tensor  # (B, T + 1)
    n_token: int
    n_source_token: int
    lane: int
    place: Place
    follows: None = None


class StreamedWindows(IterableDataset):
    """Endless dataset of one rank's share of a stream; see `Lanes`.

    Each `iter` starts after the last batch that was trained on, however far a loader had read
    ahead.

    Args:
        position: returns the number of micro-batches trained on so far.
        places: stream position by lane after the last batch that was trained on.
        rank, world: number of this process, and of all.
        n_worker: loader processes of each.
    """

    def __init__(
        self,
        lanes: Lanes,
        position: Callable[[], int] | None,
        places: dict[int, Place],
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
        """Return the state for a spawned loader process, with the start position as a number."""
        return {**self.__dict__, "_begin": self.position(), "position": None}
