"""Documents that are read while they are used, from local files, stores that fsspec supports
(s3://, gs://, https://) and data sets of the Hugging Face hub.
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
from typing import TYPE_CHECKING, Literal

from lslm_lightning.corpora.archives import BUFFER, bare_name, refused_where_damaged, unpacked
from lslm_lightning.corpora.arrow_records import read_arrow, read_parquet
from lslm_lightning.corpora.file_names import FORMATS
from lslm_lightning.corpora.hub import as_written, is_hub_id
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import text_of, to_row
from lslm_lightning.corpora.text_lines import EmptyFileError
from lslm_lightning.corpora.values import Record, location_of
from lslm_lightning.data.redaction import chosen_finder
from lslm_lightning.safety.paths import check_is_file
from lslm_lightning.text.personal_data import PersonalDataFinder, Redaction
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from datasets import IterableDataset

COLUMN_STORES = (read_parquet, read_arrow)


@dataclass(frozen=True)
class Stream:
    """Documents of many files, read one after the other with the file readers of corpora.

    The files are never in memory as a whole. Data sets of the hub are read by Hugging Face
    `datasets`; their values are checked in the same way.

    Args:
        path: a file, folder or glob pattern, local or in a store ("s3://bucket/shards/*.parquet";
            the library of the store finds the credentials); or a hub id, "owner/name" or
            "owner/name:configuration". Files are .jsonl, .ndjson, .json, .parquet, .csv, .tsv,
            .arrow or .txt (one text per line), optionally compressed (.gz, .zst, .xz, .bz2).
        column: name of the column of texts; "a.b" is column b of the objects in column a.
        split: name of a split of a hub data set.
        storage_options: arguments for the fsspec file system, such as {"anon": true}.
        empty: treatment of blank texts, as in corpora.yaml: "refuse", "keep" or "drop".
        redact_personal_data: kinds of personal data that placeholders such as [EMAIL] replace, as
            in `lslm data prepare`: "all", or some, separated by commas; null for none.
        names: file of names of people, one a line, which are personal data too.
    """

    path: str
    column: str = "text"
    split: str = "train"
    storage_options: JsonObject = field(default_factory=dict)
    empty: Literal["refuse", "keep", "drop"] = "refuse"
    redact_personal_data: str | None = None
    names: str | None = None

    @cached_property
    def files(self) -> list[tuple[str, int]]:
        """Sorted list of (address, size in bytes) of the files; [] for a hub data set.

        Raises:
            FileNotFoundError: no file has a supported format.
            ValueError: the files are of several formats, or one is a pipe or a device.
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
    def finder(self) -> PersonalDataFinder | None:
        """Finder of the personal data that are redacted; None if none are.

        Raises:
            ValueError: a kind is unknown, or kinds and names do not fit together.
            OSError: the file of names cannot be read.
        """
        kinds, names = "data.stream.redact_personal_data", "data.stream.names"
        return chosen_finder(self.redact_personal_data, self.names, kinds, names)

    def redacted(self, text: str) -> str:
        """Return a text with placeholders for the personal data that are to be redacted."""
        return text if self.finder is None else Redaction(self.finder)(text)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the texts as a training reads them: of their source, and of what is
        redacted.
        """
        if self.finder is None:
            return self.source_digest
        about = [self.source_digest, self.finder.description]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    @cached_property
    def source_digest(self) -> str:
        """SHA-256, in hex, of the column and the names and sizes of the files, or the revision of a
        hub data set, and of whether blank texts are kept.
        """
        if self.files:
            about: Json = [(address.rpartition("/")[2], size) for address, size in self.files]
        else:
            from huggingface_hub import HfApi

            about = [self.path, self.split, HfApi().dataset_info(self.path.partition(":")[0]).sha]
        kept = ["keep"] if self.empty == "keep" else []
        return hashlib.sha256(json.dumps([about, self.column, *kept]).encode()).hexdigest()

    @cached_property
    def data(self) -> "IterableDataset":
        """Hub data set in streaming mode, reduced to the column of texts.

        Raises:
            ValueError: the data set cannot be opened or lacks the column.
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
        """Number of shards that can be read independently: the files, or the shards of the hub data
        set.

        Raises:
            ValueError: the first texts cannot be read, or the column is missing.
        """
        if not self.files:
            return self.data.num_shards
        next((text for shard in range(len(self.files)) for text in self.documents(shard)), "")
        return len(self.files)

    def documents(self, shard: int, first: int = 0) -> Iterator[str]:
        """Yield the texts of one shard as `corpus:` reads them from these files, including blank
        ones that are to be dropped, and before redaction.

        Args:
            shard: index of the shard, from 0.
            first: number of texts to skip.

        Raises:
            ValueError: a value cannot be read, is not text, or is blank and `empty` refuses it; the
                message states file and line.
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
            text = text_of(to_row(record, columns, ("text",))["text"], "")
            if self.empty == "refuse" and not text.strip():
                raise ValueError(
                    f"{location_of(record)}: {self.column} is empty; correct the file, or set "
                    "empty: keep or empty: drop for this stream (lslm data prepare --empty drop)"
                )
            yield text

    def keeps(self, text: str) -> bool:
        """Return whether `empty` keeps a text: it is not blank, or blank ones are kept."""
        return self.empty == "keep" or bool(text.strip())

    def _records(self, shard: int) -> Iterator[Record]:
        """Yield the records of the file with index `shard`."""
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
        """Open a file for reading, local or in a store."""
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
        """Convert errors of other libraries to a ValueError with a message of one line.

        ValueError and FileNotFoundError pass unchanged, since their messages state file and line.
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
        """Return the first `n` texts, redacted, or all if there are fewer."""
        texts = (text for shard in range(self.n_shard) for text in self.documents(shard))
        return [self.redacted(text) for text in islice(texts, n)]


def local_sizes(paths: Iterable[Path]) -> dict[str, int]:
    """Return path -> size in bytes for the paths that are files or links to files; folders are
    skipped.

    Raises:
        ValueError: a path is a pipe, a device or a broken link.
    """
    sizes = {}
    for path in paths:
        check_is_file(path, takes_folders=True)
        if path.is_file():
            sizes[str(path)] = path.stat().st_size
    return sizes


def format_of(name: str) -> str | None:
    """Return the format of a file from its name, as a key of `READERS`; None if it is not
    supported.
    """
    stem, _, ending = bare_name(name.rpartition("/")[2].lower()).rpartition(".")
    form = FORMATS.get(ending) if stem else None
    return "lines" if form == "text" else form
