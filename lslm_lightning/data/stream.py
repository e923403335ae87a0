"""Texts that are read while they are used: from local files, stores that fsspec knows (s3://,
gs://, https://) and data sets of the hub.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.data.archives import BUFFER, bare_name, refused_where_damaged, unpacked
from lslm_lightning.data.arrow_records import read_arrow, read_parquet
from lslm_lightning.data.file_names import FORMATS
from lslm_lightning.data.hub import as_written, is_hub_id
from lslm_lightning.data.readers import READERS
from lslm_lightning.data.rows import text_of, to_row
from lslm_lightning.data.text_lines import EmptyFileError
from lslm_lightning.data.values import Record, location_of
from lslm_lightning.safety.paths import check_is_file
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from datasets import IterableDataset

COLUMN_STORES = (read_parquet, read_arrow)


@dataclass(frozen=True)
class Stream:
    """Documents of many files, read one after the other and never all at once, by the readers that
    read a corpus.

    Data sets of the hub are read by Hugging Face `datasets`; their values are checked in the same
    way.

    Args:
        path: a file, a folder or a pattern, here or at a store ("s3://bucket/shards/*.parquet",
            with the credentials of its library); or a hub id, "owner/name" or
            "owner/name:configuration". Files are .jsonl, .ndjson, .json, .parquet, .csv, .tsv,
            .arrow or .txt (a text a line), packed (.gz, .zst, .xz, .bz2) or not.
        column: name of the column of texts; "a.b" is column b of the objects in column a.
        split: name of a split of a hub data set.
        storage_options: arguments of fsspec, such as {"anon": true}.
    """

    path: str
    column: str = "text"
    split: str = "train"
    storage_options: JsonObject = field(default_factory=dict)

    @cached_property
    def files(self) -> list[tuple[str, int]]:
        """List of (address, size in bytes) of each file, sorted; [] for a hub data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: files are of several formats, or one is a pipe or a device.
        """
        if is_hub_id(self.path) and not self._is_here():
            return []
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        system, path = fsspec.core.url_to_fs(self.path, **self.storage_options)
        if system.isdir(path):
            path = path.rstrip("/") + "/**"
        listed = (
            system.glob(path, detail=True)
            if any(mark in path for mark in "*?[")
            else {path: system.info(path)}
        )
        readable = {name: about for name, about in listed.items() if format_of(name)}
        if isinstance(system, LocalFileSystem):
            files = local_sizes(map(Path, readable))
        else:
            files = {
                name: about["size"] for name, about in readable.items() if about["type"] == "file"
            }
        if not files:
            raise FileNotFoundError(
                f"{self.path} has no files that end in "
                f"{', '.join('.' + name for name in FORMATS)}, packed or not"
            )
        if len(kinds := {(format_of(name) or "").removesuffix("l") for name in files}) > 1:
            raise ValueError(
                f"{self.path} has files of several formats, {' and '.join(sorted(kinds))}: name "
                "one with a pattern, as in *.jsonl"
            )
        return sorted((system.unstrip_protocol(name), size) for name, size in files.items())

    def _is_here(self) -> bool:
        return Path(self.path).exists()

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the names and sizes of the files, or of the revision of a hub data
        set, and the column.
        """
        if self.files:
            about: Json = [(address.rpartition("/")[2], size) for address, size in self.files]
        else:
            from huggingface_hub import HfApi

            about = [self.path, self.split, HfApi().dataset_info(self.path.partition(":")[0]).sha]
        return hashlib.sha256(json.dumps([about, self.column]).encode()).hexdigest()

    @cached_property
    def data(self) -> "IterableDataset":
        """Hub data set, opened but not read.

        Raises:
            ValueError: the data set cannot be opened, or has no such column.
        """
        from datasets import load_dataset

        name, _, configuration = self.path.partition(":")
        with self._in_one_line():
            settings = as_written(name, configuration or None)
            opened = load_dataset(
                name, configuration or None, split=self.split, streaming=True, **settings
            )
            columns = opened.column_names or list(next(iter(opened), {}))
        if (
            top := self.column if self.column in columns else self.column.partition(".")[0]
        ) not in columns:
            raise ValueError(
                f"{self.path} has no column {self.column!r}; it has {', '.join(columns)}"
            )
        return opened.select_columns([top])

    @cached_property
    def n_shard(self) -> int:
        """Number of shards, which can be read apart from each other: files, or the hub's own.

        Raises:
            ValueError: the first texts cannot be read, or have no such column.
        """
        if not self.files:
            return self.data.num_shards
        next((text for shard in range(len(self.files)) for text in self.documents(shard)), "")
        return len(self.files)

    def documents(self, shard: int, first: int = 0) -> Iterator[str]:
        """Yield the texts of one shard, from document `first` on: the same that `corpus:` reads
        from these files, empty ones too.

        Raises:
            ValueError: a value cannot be read, or is no text; with file and line.
        """
        outer = self.column.partition(".")[0]
        columns = {"text": self.column}
        for record in islice(
            self._records(shard) if self.files else self._hub_records(shard), first, None
        ):
            if outer not in record and self.column not in record:
                present = ", ".join(str(name) for name in record if name != "id")
                raise ValueError(
                    f"{location_of(record)}: has no column {self.column!r}; it has {present}"
                )
            yield text_of(to_row(record, columns, ("text",))["text"], "")

    def _records(self, shard: int) -> Iterator[Record]:
        """Yield the records of one file."""
        address, _ = self.files[shard]
        name = address.removeprefix("file://")
        form = format_of(name)
        assert form is not None
        read = READERS[form]
        if read in COLUMN_STORES:
            read = partial(read, column=self.column.partition(".")[0])
        with (
            self._in_one_line(),
            refused_where_damaged(name),
            self._opened(address) as raw,
            unpacked(name, raw) as file,
        ):
            try:
                yield from read(name, file, True)
            except EmptyFileError:
                return

    def _opened(self, address: str) -> io.BufferedReader:
        """Return a file of this machine or of a store open for reading."""
        import fsspec

        system, path = fsspec.core.url_to_fs(address, **self.storage_options)
        return (
            open(path, "rb")
            if address.startswith("file://")
            else io.BufferedReader(system.open(path, "rb"), BUFFER)
        )

    def _hub_records(self, shard: int) -> Iterator[Record]:
        """Yield the records of one shard of a hub data set."""
        part = self.data.shard(self.n_shard, shard) if self.n_shard > 1 else self.data
        for number, row in enumerate(part, 1):
            yield Record(f"{self.path}: {self.split}, part {shard + 1}, row {number}", row)

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Turn the errors of many libraries into a ValueError of one line; ours name file and line
        already.
        """
        try:
            yield
        except (ValueError, FileNotFoundError):
            raise
        except Exception as error:
            raise ValueError(
                f"{self.path} cannot be read: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from None

    def head(self, n: int) -> list[str]:
        """Return the first `n` texts, or fewer where there are not as many."""
        return list(
            islice((text for shard in range(self.n_shard) for text in self.documents(shard)), n)
        )


def local_sizes(paths: Iterable[Path]) -> dict[str, int]:
    """Return path -> size in bytes of those paths that are files, or links to one; folders are
    passed over.

    Raises:
        ValueError: one is a pipe, a device, or a link that leads nowhere.
    """
    sizes = {}
    for path in paths:
        check_is_file(path, takes_folders=True)
        if path.is_file():
            sizes[str(path)] = path.stat().st_size
    return sizes


def format_of(name: str) -> str | None:
    """Return the format, as in `READERS`, of a file of this name; None of one that is not read."""
    stem, _, ending = bare_name(name.rpartition("/")[2].lower()).rpartition(".")
    form = FORMATS.get(ending) if stem else None
    return "lines" if form == "text" else form
