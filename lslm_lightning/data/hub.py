"""Data read by Hugging Face `datasets`: Parquet files, and anything on the hub. It is imported on first use, since that takes seconds."""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.readers import Record
from lslm_lightning.data.rows import Row, required_fields, to_row

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)
SPLIT_NAMES = {"validation": "val", "valid": "val", "dev": "val"}


class DatasetRows(Sequence[Row]):
    """Rows made one at a time from a memory-mapped dataset."""

    def __init__(self, dataset: "Dataset", name: str, columns: Mapping[str, Any], required: Sequence[str]) -> None:
        self.dataset, self.name, self.columns, self.required = dataset, name, columns, required

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
        return to_row({"id": f"{self.name}:{position + 1}"} | self.dataset[position], self.columns, self.required)

    def digest(self) -> str:
        """SHA-256 of all rows, in hex."""
        running = hashlib.sha256()
        for row in self:
            running.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        return running.hexdigest()


def parquet_records(paths: Sequence[Path]) -> Iterator[Record]:
    """A record for every row of the files, in order.

    Raises:
        ValueError: a file is not Parquet.
    """
    from pyarrow import ArrowException, parquet

    for path in paths:
        try:
            batches = parquet.ParquetFile(path).iter_batches()
            records = (record for batch in batches for record in batch.to_pylist())
            for number, record in enumerate(records, 1):
                yield {"id": f"{path.name}:{number}"} | record
        except (ArrowException, OSError) as error:
            raise ValueError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:160]})") from None


def is_hub_id(name: str) -> bool:
    """Whether the name looks like "owner/name" or "owner/name:configuration"."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?", name) is not None


def open_hub(name: str, columns: Mapping[str, Any]) -> Corpus:
    """The hub's dataset; its splits validation, valid and dev are called val here.

    The fields that `columns` names say which task it is: text; document and summary; or else language codes.

    Raises:
        ValueError: no columns were given.
        FileNotFoundError: the hub does not have it or cannot be reached.
    """
    task, languages = task_of(columns, name)
    datasets = _load(name)
    splits = {SPLIT_NAMES.get(split, split): dataset for split, dataset in datasets.items()}
    required = required_fields(task, languages)
    rows = {split: DatasetRows(dataset, split, columns, required) for split, dataset in splits.items()}
    return Corpus(
        name=name,
        task=task,
        languages=languages,
        splits=tuple(rows),
        load=rows.__getitem__,
        fingerprint=lambda split: rows[split].digest(),
        licence=next(iter(datasets.values())).info.license or "see its page",
        home=f"https://huggingface.co/datasets/{name.partition(':')[0]}",
    )


def task_of(columns: Mapping[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    """Task and languages that the fields in `columns` stand for.

    Raises:
        ValueError: they stand for no task.
    """
    fields = [field for field in columns if field != "id"]
    if "text" in fields:
        return "language_modeling", ()
    if {"document", "summary"} <= set(fields):
        return "summarization", ()
    languages = tuple(field for field in fields if re.fullmatch(r"[a-z]{2,3}(-\w+)?", field))
    if len(languages) < 2:
        raise ValueError(
            f"corpus {name}: columns={dict(columns)} must name text, or document and summary, or two languages; for example columns: {{en: english, zh: chinese}}"
        )
    return "translation", languages


def _load(name: str) -> "Mapping[str, Dataset]":
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    path, _, configuration = name.partition(":")
    try:
        return load_dataset(path, configuration or None)
    except Exception as error:  # of a dozen libraries: whatever went wrong, the user needs it in one line
        reason = " ".join(str(error).split())[:200]
        raise FileNotFoundError(
            f"corpus {name!r} is neither in corpora.yaml nor built in nor a path here, and the Hugging Face hub did not give it "
            f"({type(error).__name__}: {reason})"
        ) from None
