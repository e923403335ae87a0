"""Corpora from data sets of the Hugging Face hub.

The package `datasets` is imported on first use, since the import takes seconds.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lslm_lightning.corpora.columns import find_columns
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.rows import (
    FILES,
    SPLIT_NAMES,
    Row,
    answer_fields,
    columns_nobody_has,
    is_empty,
    named_fields,
    required_fields,
    to_row,
)
from lslm_lightning.corpora.values import Record
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)


class DatasetRows(Sequence[Row]):
    """Sequence of rows that are converted on access from a memory-mapped data set.

    Rows with an empty field are kept; their number is logged once. The value of a field that holds
    a file is a name such as "train:17" for row 17; `read` returns the bytes of the file.

    Args:
        dataset: one split of the data set.
        name: name of the split.
        columns: field -> column.
        required: fields of every row.
        answers: fields in which several texts are kept separate.
    """

    def __init__(
        self,
        dataset: "Dataset",
        name: str,
        columns: Settings,
        required: Sequence[str],
        answers: Collection[str] = frozenset(),
    ) -> None:
        self.dataset = undecoded(dataset)
        self.name = name
        self.columns = columns
        self.required = required
        self.answers = answers
        self.files = [columns.get(field, field) for field in required if field in FILES]
        self.texts = self.dataset.remove_columns(
            [name for name in self.files if name in dataset.column_names]
        )

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return self._row(position, self.texts[position])

    def __iter__(self) -> Iterator[Row]:
        return (self._row(position, record) for position, record in enumerate(self.texts))

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of all rows and the files that they name."""
        running = hashlib.sha256()
        n_empty = 0
        for position, row in enumerate(self):
            running.update(json.dumps(row, sort_keys=True).encode() + b"\n")
            if self.files:
                running.update(self._digest_of_file(position))
            n_empty += any(is_empty(row[field]) for field in self.required)
        if n_empty:
            log.warning(
                "%s: %d of %d rows have an empty field and are kept", self.name, n_empty, len(self)
            )
        return running.hexdigest()

    def _row(self, position: int, record: Record) -> Row:
        name = f"{self.name}:{position + 1}"
        located = Record(name, record | dict.fromkeys(self.files, name))
        return to_row(located, self.columns, self.required, answers=self.answers)

    def _digest_of_file(self, position: int) -> bytes:
        try:
            return hashlib.sha256(self.read(position)).digest()
        except FileNotFoundError:
            return b"missing"

    def read(self, position: int) -> bytes:
        """Return the bytes of the file of the row at index `position`.

        Raises:
            FileNotFoundError: the file is not on this machine.
        """
        value = self.dataset[position][self.files[0]]
        data, path = (
            (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (None, value)
        )
        if data is not None:
            return data
        if path is None:
            raise FileNotFoundError(
                f"{self.name}:{position + 1} has nothing in its column {self.files[0]!r}"
            )
        return Path(path).read_bytes()


def undecoded(dataset: "Dataset") -> "Dataset":
    """Return a data set whose audio columns yield undecoded bytes, since decoding is slow."""
    from datasets import Audio

    for name, feature in dataset.features.items():
        if isinstance(feature, Audio):
            dataset = dataset.cast_column(name, Audio(decode=False))
    return dataset


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form "owner/name" or "owner/name:configuration"."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?", name) is not None


def open_hub(
    name: str, columns: Settings, fields: Sequence[str] = (), languages: Sequence[str] = ()
) -> Corpus:
    """Return a hub data set as a corpus; the splits validation, valid and dev are called val.

    Args:
        columns: field -> column as the user set them; other columns are found by
            `columns.find_columns`.
        fields: fields that the current task reads; () if unknown.
        languages: languages that the current task reads; () if the task states none.

    Raises:
        ValueError: a field that the task reads has no column.
        FileNotFoundError: the hub lacks the data set or cannot be reached.
    """
    datasets = _load(name)
    splits = {SPLIT_NAMES.get(split, split): dataset for split, dataset in datasets.items()}
    split, dataset = next(iter(splits.items()))
    first = Record(f"{split}:1", next(iter(undecoded(dataset)), {}))
    meaning = find_columns(name, first, columns, fields, languages)
    for assumed in meaning.assumed:
        log.info("%s: %s", name, assumed)
    columns = meaning.columns
    names = {column for each in splits.values() for column in each.column_names}
    for column in columns_nobody_has([dict.fromkeys(names, "")], columns):
        if str(column).partition(".")[0] not in names:
            raise ValueError(
                f"corpus {name}: no row has the column {column!r}, which columns names; correct "
                "it, or leave it out"
            )
    required = required_fields(meaning.task, meaning.languages) or named_fields(columns)
    answers = answer_fields(meaning.task, required)
    rows = {
        split: DatasetRows(dataset, split, columns, required, answers)
        for split, dataset in splits.items()
    }

    def read(name: str) -> bytes:
        split, _, number = name.rpartition(":")
        return rows[split].read(int(number) - 1)

    return Corpus(
        name=name,
        task=meaning.task,
        languages=meaning.languages,
        note="; ".join(meaning.assumed),
        fields=required,
        splits=tuple(rows),
        load=rows.__getitem__,
        fingerprint=lambda split: rows[split].digest,
        read=read,
        licence=next(iter(datasets.values())).info.license or "see its page",
        home=f"https://huggingface.co/datasets/{name.partition(':')[0]}",
    )


def as_written(name: str, configuration: str | None) -> JsonObject:
    """Return arguments of `load_dataset` that keep the cells of CSV files as text; {} for other
    formats.

    By default it would read null and NA as missing values, and 007 as 7.
    """
    from datasets import Features, Value, load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig

    builder = load_dataset_builder(name, configuration)
    if not isinstance(builder.config, CsvConfig):
        return {}
    columns: Iterable[str] = builder.info.features or next(
        iter(builder.as_streaming_dataset(next(iter(builder.config.data_files)))), {}
    )
    return {"keep_default_na": False, "features": Features(dict.fromkeys(columns, Value("string")))}


def _cached_csv(name: str, configuration: str | None) -> "dict[str, Dataset]":
    """Return split -> data set of CSV files cached by an earlier call with the arguments of
    `as_written`; {} if there is no cache.

    Without a network `datasets` does not find this cache itself.
    """
    from datasets import Dataset, concatenate_datasets, config
    from datasets.naming import camelcase_to_snakecase

    owner, _, bare = name.rpartition("/")
    folder = (
        Path(config.HF_DATASETS_CACHE).expanduser() / f"{owner}___{camelcase_to_snakecase(bare)}"
    )
    for file in sorted(
        folder.glob("*-*/*/*/dataset_info.json"), key=os.path.getmtime, reverse=True
    ):
        try:
            about = json.loads(file.read_text("utf-8"))
            columns = about.get("features") or {"": {}}
        except (OSError, ValueError, AttributeError, RecursionError):  # half-written, or another's
            continue
        are_texts = all(kind.get("dtype") == "string" for kind in columns.values())
        if (
            about.get("builder_name") == "csv"
            and about.get("config_name") == (configuration or "default")
            and are_texts
        ):
            parts = {
                split: [f"*-{split}.arrow", f"*-{split}-?????-of-?????.arrow"]
                for split in about["splits"]
            }
            files = {
                split: [part for name in names for part in sorted(file.parent.glob(name))]
                for split, names in parts.items()
            }
            return {
                split: concatenate_datasets([Dataset.from_file(str(part)) for part in paths])
                for split, paths in files.items()
            }
    return {}


def _load(name: str) -> "Mapping[str, Dataset]":
    """Return split -> data set for a hub id; raise FileNotFoundError if it cannot be loaded."""
    from datasets import config, load_dataset
    from datasets.utils.logging import disable_progress_bar
    from huggingface_hub import constants

    reachable = _is_reachable(constants.ENDPOINT)
    if not reachable:
        # use what is cached, without half a minute of retries
        constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    disable_progress_bar()
    path, _, configuration = name.partition(":")
    try:
        if not reachable and (cached := _cached_csv(path, configuration or None)):
            return cached
        return load_dataset(path, configuration or None, **as_written(path, configuration or None))
    except Exception as error:
        # of a dozen libraries: whatever went wrong, the user needs it in one line
        reason = (
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if reachable
            else "it cannot be reached"
        )
        raise FileNotFoundError(
            f"corpus {name!r} is neither in corpora.yaml nor built in nor a path here, and the "
            f"Hugging Face hub has no such data set that can be read ({reason})"
        ) from None


def _is_reachable(url: str, timeout_seconds: float = 5) -> bool:
    """Return whether a server responds to a request."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=timeout_seconds).close()
    except HTTPError:
        return True  # it answered
    except OSError:
        return False
    return True
