"""Reader of the folders of token ids that `lslm data prepare` writes: an index, a tokenizer and
memory-mapped shards.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lslm_lightning.safety.paths import is_inside
from lslm_lightning.types import Json, JsonObject

DTYPES = ("uint16", "int32")
INDEX = "prepared.json"
TOKENIZER = "tokenizer.json"
JOURNAL = "shards.jsonl"


def dtype_of(vocab_size: int) -> np.dtype:
    """Return the smallest supported integer type for the ids of a vocabulary: uint16 or int32."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.int32)


def redactions_of(shards: Iterable[JsonObject]) -> Counter[str]:
    """Return the number of personal data that were replaced in shards, by kind."""
    total: Counter[str] = Counter()
    for shard in shards:
        total.update(shard.get("redactions", {}))
    return total


class ShardedIds:
    """Token ids of several arrays (shards), indexed as one long array.

    Position 0 holds `eos_id` (`</s>`); the ids of the first shard begin at position 1.
    `ids[positions]` accepts an array of positions of any shape and returns int64 ids of that shape.
    """

    def __init__(self, shards: list[np.ndarray], eos_id: int) -> None:
        self.shards = shards
        self.eos_id = eos_id
        self._starts = np.cumsum([1, *map(len, shards)])  # of each shard, and the end

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        gathered = np.full(positions.shape, self.eos_id, dtype=np.int64)
        which = np.searchsorted(self._starts, positions, side="right") - 1
        for shard in np.unique(which[which >= 0]):
            here = which == shard
            gathered[here] = self.shards[shard][positions[here] - self._starts[shard]]
        return gathered


def problem_of(index: Json) -> str:
    """Return a description of the first error in an index of shards; "" if the index is valid."""
    if not isinstance(index, dict):
        return "it is no JSON object"
    if index.get("dtype") not in DTYPES or type(index.get("eos_id")) is not int:
        return "its dtype or eos_id is none"
    if not isinstance(index.get("shards"), list):
        return "it has no list of shards"
    for shard in index["shards"]:
        if not is_shard(shard):
            return f"a shard is {shard!r}"
    return ""


def is_shard(about: Json) -> bool:
    """Return whether a JSON value is a valid description of a shard: a file name, three counts and
    a CRC-32.
    """
    if not isinstance(about, dict) or not isinstance(about.get("file"), str):
        return False
    numbers = [about.get(name) for name in ("n_document", "n_byte", "n_token", "crc32")]
    return is_inside(about["file"]) and all(type(n) is int and n >= 0 for n in numbers)


@dataclass(frozen=True)
class Prepared:
    """Folder written by `lslm data prepare`, with the content of its index file."""

    folder: Path
    index: JsonObject

    @classmethod
    def open(cls, folder: str | Path) -> "Prepared":
        """Open a prepared folder: read its index and check the sizes of its shards.

        Raises:
            ValueError: the folder was not prepared or is not finished, or a shard is missing or has
                the wrong size.
        """
        path = Path(folder).expanduser()
        try:
            index = json.loads((path / INDEX).read_text("utf-8"))
        except FileNotFoundError:
            state = (
                "is not finished; give the same command again"
                if (path / JOURNAL).exists()
                else "was not made by `lslm data prepare`"
            )
            raise ValueError(f"data.prepared={folder} {state}: it has no {INDEX}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path / INDEX} is damaged ({error}); make the folder again"
            ) from None
        if problem := problem_of(index):
            raise ValueError(f"{path / INDEX} is damaged ({problem}); make the folder again")
        size = np.dtype(index["dtype"]).itemsize
        for shard in index["shards"]:
            file = path / shard["file"]
            if not file.is_file() or file.stat().st_size != shard["n_token"] * size:
                raise ValueError(
                    f"{file} is missing or has not the size that {INDEX} says; give `lslm data "
                    "prepare` again"
                )
        return cls(path, index)

    @property
    def tokenizer(self) -> Path:
        return self.folder / TOKENIZER

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the lengths and CRC-32 checksums of all shards, and of what was
        redacted.
        """
        about: list[Json] = [[s["n_token"], s["crc32"]] for s in self.index["shards"]]
        if "redaction" in self.index:
            about.append(self.index["redaction"])
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    @property
    def redactions(self) -> Counter[str]:
        """Number of personal data that placeholders have replaced, by kind."""
        return redactions_of(self.index["shards"])

    @cached_property
    def ids(self) -> ShardedIds:
        shards: list[np.ndarray] = [
            np.memmap(self.folder / shard["file"], np.dtype(self.index["dtype"]), "r")
            for shard in self.index["shards"]
        ]
        return ShardedIds(shards, self.index["eos_id"])
