"""A folder of token ids that `lslm data prepare` made: an index, a tokenizer, and shards that are memory-mapped."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

INDEX, TOKENIZER, JOURNAL = "prepared.json", "tokenizer.json", "shards.jsonl"


def dtype_of(vocab_size: int) -> np.dtype:
    """The smallest that holds all ids."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.int32)


class ShardedIds:
    """Rows of ids in several files as one long row, `</s>` before the first: `ids[positions]` gathers (any shape) int64."""

    def __init__(self, shards: list[np.ndarray], eos_id: int) -> None:
        self.shards, self.eos_id = shards, eos_id
        self._starts = np.cumsum([1, *map(len, shards)])  # where each begins, and the end

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        found = np.full(positions.shape, self.eos_id, dtype=np.int64)
        which = np.searchsorted(self._starts, positions, side="right") - 1
        for shard in np.unique(which[which >= 0]):
            here = which == shard
            found[here] = self.shards[shard][positions[here] - self._starts[shard]]
        return found


@dataclass(frozen=True)
class Prepared:
    """What the index says, and the ids."""

    folder: Path
    index: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "Prepared":
        """Read the index; the shards are only mapped.

        Raises:
            ValueError: the folder is none, is not finished, or a shard is missing or has another size.
        """
        path = Path(folder).expanduser()
        try:
            index = json.loads((path / INDEX).read_text("utf-8"))
        except FileNotFoundError:
            state = "is not finished; give the same command again" if (path / JOURNAL).exists() else "was not made by `lslm data prepare`"
            raise ValueError(f"data.prepared={folder} {state}: it has no {INDEX}") from None
        except ValueError as error:
            raise ValueError(f"{path / INDEX} is damaged ({error}); make the folder again") from None
        size = np.dtype(index["dtype"]).itemsize
        for shard in index["shards"]:
            file = path / shard["file"]
            if not file.is_file() or file.stat().st_size != shard["n_token"] * size:
                raise ValueError(f"{file} is missing or has not the size that {INDEX} says; give `lslm data prepare` again")
        return cls(path, index)

    @property
    def tokenizer(self) -> Path:
        return self.folder / TOKENIZER

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the texts as ids: of the checksums of all shards."""
        return hashlib.sha256(json.dumps([(s["n_token"], s["crc32"]) for s in self.index["shards"]]).encode()).hexdigest()

    @cached_property
    def ids(self) -> ShardedIds:
        shards = [np.memmap(self.folder / shard["file"], np.dtype(self.index["dtype"]), "r") for shard in self.index["shards"]]
        return ShardedIds(shards, self.index["eos_id"])
