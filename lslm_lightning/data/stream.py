"""Texts that are read as they are needed: local files, stores that fsspec knows (s3://, gs://, https://), data sets of the hub."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from lslm_lightning.data.hub import is_hub_id

if TYPE_CHECKING:
    from datasets import IterableDataset

FORMATS = {"jsonl": "json", "json": "json", "parquet": "parquet", "txt": "text", "csv": "csv", "arrow": "arrow"}
PACKED = ("gz", "zst", "xz", "bz2")


@dataclass(frozen=True)
class Stream:
    """Documents of many files, one after the other and never all at once, by Hugging Face `datasets`.

    Args:
        path: a file, a folder or a pattern, here or at a store ("s3://bucket/shards/*.parquet", with the credentials of its library); or a
            hub id, "owner/name" or "owner/name:configuration". Files are .jsonl, .json, .parquet, .csv, .arrow or .txt (a text a line),
            packed or not.
        column: which holds the text.
        split: of a hub data set.
        storage_options: for fsspec, such as {"anon": true}.
    """

    path: str
    column: str = "text"
    split: str = "train"
    storage_options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[tuple[str, int]]:
        """(address, bytes) of each file, sorted; none of a hub data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: they are of several formats, or of one that is not read.
        """
        if is_hub_id(self.path) and not self._is_here():
            return []
        import fsspec

        system, path = fsspec.core.url_to_fs(self.path, **self.storage_options)
        if system.isdir(path):
            path = path.rstrip("/") + "/**"
        found = system.glob(path, detail=True) if any(mark in path for mark in "*?[") else {path: system.info(path)}
        files = {name: about["size"] for name, about in found.items() if about["type"] == "file" and format_of(name)}
        if not files:
            raise FileNotFoundError(f"{self.path} has no files that end in {', '.join('.' + name for name in FORMATS)}, packed or not")
        if len(kinds := {format_of(name) for name in files}) > 1:
            raise ValueError(
                f"{self.path} has files of several formats, {' and '.join(sorted(kinds))}: name one with a pattern, as in *.jsonl"
            )
        return sorted((system.unstrip_protocol(name), size) for name, size in files.items())

    def _is_here(self) -> bool:
        from pathlib import Path

        return Path(self.path).exists()

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of what tells one state of the files from another: names and sizes; of a hub data set its revision."""
        if self.files:
            about: Any = [(address.rpartition("/")[2], size) for address, size in self.files]
        else:
            from huggingface_hub import HfApi

            about = [self.path, self.split, HfApi().dataset_info(self.path.partition(":")[0]).sha]
        return hashlib.sha256(json.dumps([about, self.column]).encode()).hexdigest()

    @cached_property
    def data(self) -> "IterableDataset":
        """The whole, opened but not read.

        Raises:
            ValueError: it cannot be opened, or has no such column.
        """
        from datasets import load_dataset

        try:
            if self.files:
                kind = format_of(self.files[0][0])
                addresses = [address.removeprefix("file://") for address, _ in self.files]
                opened = load_dataset(kind, data_files=addresses, split="train", streaming=True, storage_options=self.storage_options)
            else:
                name, _, configuration = self.path.partition(":")
                opened = load_dataset(name, configuration or None, split=self.split, streaming=True)
            columns = opened.column_names or list(next(iter(opened), {}))
        except Exception as error:  # of many libraries: whatever went wrong, the user needs it in one line
            raise ValueError(f"{self.path} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None
        if self.column not in columns:
            raise ValueError(f"{self.path} has no column {self.column!r}; it has {', '.join(columns)}")
        return opened.select_columns([self.column])

    @property
    def n_shard(self) -> int:
        """Parts that can be read apart from each other: usually files."""
        return self.data.num_shards

    def documents(self, shard: int, first: int = 0) -> Iterator[str]:
        """The texts of one shard, from document `first` on."""
        part = self.data.shard(self.n_shard, shard) if self.n_shard > 1 else self.data
        for row in part.skip(first) if first else part:
            yield row[self.column] or ""

    def head(self, n: int) -> list[str]:
        """The first texts, at most n."""
        return list(islice((text for shard in range(self.n_shard) for text in self.documents(shard)), n))


def format_of(name: str) -> str | None:
    """What `datasets` calls the format of a file of this name; None of one that is not read."""
    parts = name.rpartition("/")[2].lower().split(".")
    if parts[-1] in PACKED:
        parts.pop()
    return FORMATS.get(parts[-1]) if len(parts) > 1 else None
