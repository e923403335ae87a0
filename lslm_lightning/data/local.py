"""A file or folder of this machine described as an entry."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lslm_lightning.data.archives import read_file
from lslm_lightning.data.catalogue import Entry, Split
from lslm_lightning.data.readers import READERS
from lslm_lightning.data.rows import NAMED, OPTIONAL, SPLIT_NAMES, required_fields, task_of

FORMATS = {"txt": "text", "tsv": "tsv", "csv": "csv", "jsonl": "jsonl", "json": "json", "parquet": "parquet"}
SPLIT = r"(?:train|val|dev|test)[\w-]*"
TOGETHER = ("context", "audio")
"""Fields of other tasks: rows that agree in one are not split."""
SHARES = {"train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}


def describe(path: Path, columns: Mapping[str, Any]) -> Entry:
    """The entry for a path.

    A folder holds a file a split, `train.jsonl` (or tsv, csv, json, parquet, txt; .gz too), or for parallel text a file a split and
    language, `train.en` and `train.de`; the splits validation, valid and dev are called val. A single file is split 90/5/5 %: text by
    characters, tables by rows, equal ones together.

    Raises:
        ValueError: there is nothing of the kind, or the columns do not say which task it is.
    """
    return _folder(path, columns) if path.is_dir() else _file(path, columns)


def _file(path: Path, columns: Mapping[str, Any]) -> Entry:
    form = _format(path.name)
    if form is None:
        raise ValueError(f"{path}: cannot tell the format from the name; it must end in {', '.join(FORMATS)} (or one of these and .gz)")
    task, languages, columns, header = _meaning(path, form, columns)
    splits = {name: Split(path.name, share, columns=columns) for name, share in SHARES.items()}
    return Entry(
        name=str(path),
        task=task,
        languages=languages,
        format=form,
        splits=splits,
        folder=str(path.parent),
        header=header,
        fields=required_fields(task, languages) or tuple(columns),
        share_of="characters" if form == "text" else required_fields(task, languages) or tuple(f for f in TOGETHER if f in columns),
        note="One file, split 90/5/5 % here.",
    )


def _folder(path: Path, columns: Mapping[str, Any]) -> Entry:
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    tables = [name for name in names if _format(name) and re.match(rf"{SPLIT}\.", name)]
    if not tables:
        return _parallel_folder(path, names)
    formats = sorted({_format(name) or "" for name in tables})
    if len(formats) > 1:
        raise ValueError(f"{path}: {', '.join(tables)} are of several formats; name one file, or describe them in configs/corpora.yaml")
    task, languages, columns, header = _meaning(path / tables[0], formats[0], columns)
    files: dict[str, list[str]] = {}
    for name in tables:
        files.setdefault(_split(name), []).append(name)
    splits = {split: Split(names, columns=columns) for split, names in files.items()}
    fields = required_fields(task, languages) or tuple(columns)
    return Entry(str(path), task, languages, formats[0], splits, folder=str(path), header=header, fields=fields)


def _parallel_folder(path: Path, names: list[str]) -> Entry:
    matches = [match for name in names if (match := re.fullmatch(rf"({SPLIT})\.([a-z]{{2,3}}(?:-\w+)?)(\.gz)?", name))]
    languages = tuple(dict.fromkeys(match[2] for match in matches))
    if len(languages) < 2:
        raise ValueError(f"{path}: holds neither parallel text (train.en, train.de) nor train.jsonl, .json, .tsv, .csv, .parquet or .txt")
    splits = {_split(match[1]): Split(f"{match[1]}.{{language}}{match[3] or ''}") for match in matches}
    return Entry(str(path), "translation", languages, "parallel", splits, folder=str(path))


def _meaning(file: Path, form: str, columns: Mapping[str, Any]) -> tuple[str, tuple[str, ...], Mapping[str, Any], bool]:
    """Task, languages, columns, and whether the first line holds names: it does, unless columns are chosen by position.

    Columns that are called as fields are (text; document and summary; those of other tasks; two letters for a language) need no name.
    """
    if not columns:
        first = next(iter(READERS[form](file.name, read_file(file), True)), {})
        names = dict.fromkeys([*first, *(sorted(OPTIONAL) if "question" in first else ())])  # other records may have those
        columns = {name: name for name in names if name in NAMED or (re.fullmatch(r"[a-z]{2}", name) and name != "id")}
    task, languages = task_of(columns, str(file))
    return task, languages, columns, not any(isinstance(column, int) for column in columns.values())


def _format(name: str) -> str | None:
    return FORMATS.get(name.removesuffix(".gz").rpartition(".")[2])


def _split(name: str) -> str:
    """train-00000-of-00002.parquet belongs to train, validation.jsonl to val."""
    stem = re.sub(r"-\d+-of-\d+$", "", name.split(".")[0])
    return SPLIT_NAMES.get(stem, stem)
