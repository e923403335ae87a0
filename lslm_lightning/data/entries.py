"""A corpus described by an entry: find its files, read them, choose columns, take the split's share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lslm_lightning.data.archives import read_file, read_members
from lslm_lightning.data.catalogue import DataFile, Entry, Split
from lslm_lightning.data.checksums import remembered_checksum, remembered_listing
from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.fetching import local_file, verified_file
from lslm_lightning.data.readers import READERS, Record, read_parallel, read_sphinx
from lslm_lightning.data.rows import FILES, Row, to_row, without_empty
from lslm_lightning.data.shares import characters_share, group_positions, where


def open_entry(entry: Entry, columns: Mapping[str, Any], languages: Sequence[str] = ()) -> Corpus:
    """The corpus of an entry; `columns` are laid over the entry's.

    Of a parallel corpus only the languages that `columns` or, where all are there, `languages` name are read.
    """
    named = [language for language in entry.languages if language in columns]
    wanted = named or (languages if set(languages) <= set(entry.languages) else ())
    if entry.task == "translation" and wanted:
        entry = replace(entry, languages=tuple(language for language in entry.languages if language in wanted))
    splits = {name: replace(split, columns={**entry.columns, **split.columns, **columns}) for name, split in entry.splits.items()}
    entry = replace(entry, splits=splits)
    return Corpus(
        name=entry.name,
        task=entry.task,
        languages=entry.languages,
        splits=tuple(entry.splits),
        load=lambda split: _load(entry, split),
        fingerprint=lambda split: _fingerprint(entry, split),
        read=lambda name: _read(entry, name),
        licence=entry.licence,
        citation=entry.citation,
        home=entry.home,
        note=entry.note,
        fields=entry.required,
        sizes={name: split.rows for name, split in splits.items() if split.rows},
    )


def _load(entry: Entry, name: str) -> list[Row]:
    split, required = entry.splits[name], entry.required
    records = _records(entry, split, split_paths(entry, name))
    rows = [to_row(record, split.columns, required, entry.join) for record in records]
    rows = without_empty(f"corpus {entry.name}", rows, required, entry.empty)
    if split.where is not None:
        rows = where(rows, split.where, f"corpus {entry.name}: splits.{name}.where")
    if split.share is not None:
        rows = _share(rows, entry, *split.share)
        if not rows or not rows[0][required[0]]:
            raise ValueError(f"corpus {entry.name}: nothing is left for {name}, share {list(split.share)}; it is too small to be split so")
    if len(distinct := {row["id"] for row in rows}) < len(rows):
        raise ValueError(
            f"corpus {entry.name}: ids must be unique, but {name} has {len(distinct)} for {len(rows)} rows; choose another column for id"
        )
    return rows


def _share(rows: list[Row], entry: Entry, low: float, high: float) -> list[Row]:
    if entry.share_of == "characters":
        return [characters_share(row, low, high) for row in rows]
    positions = group_positions(rows, entry.share_of, entry.seed)
    return [row for row, position in zip(rows, positions, strict=True) if low <= position < high]


def split_paths(entry: Entry, name: str) -> list[Path]:
    """The split's files on this machine, fetched if need be, verified."""
    files = {file.name: file for file in entry.data_files}
    return [verified_file(entry, files[file]) for file in entry.split_files(name)]


def _records(entry: Entry, split: Split, paths: list[Path]) -> Iterator[Record]:
    if entry.format == "parallel":
        yield from read_parallel({language: (path.name, read_file(path)) for language, path in zip(entry.languages, paths, strict=True)})
    elif entry.format == "sphinx":
        yield from read_sphinx({path.name: b"" if path.is_dir() else read_file(path) for path in paths})
    else:
        read = READERS[entry.format]
        for path in (path for path in paths if split.members or path.is_file()):  # a folder holds what rows name
            members = read_members(path, split.members) if split.members else [(path.name, read_file(path))]
            for name, data in members:
                yield from read(name, data, entry.header)


def _fingerprint(entry: Entry, name: str) -> Any:
    """Declared checksums stand for the contents; files without one are read, and so are those that rows name."""
    files = {file.name: file for file in entry.data_files}
    contents = []
    for file in entry.split_files(name):
        contents.append(files[file].checksums or {"sha256": remembered_checksum(verified_file(entry, files[file]))})
    split = entry.splits[name]
    contents += _named(entry, name)
    reading = [entry.format, entry.header, entry.join, entry.share_of, entry.seed, entry.empty, entry.languages]
    reading += [] if split.where is None else [split.where]  # digests of all others stay as they were
    return [contents, reading, split.share, split.members, {str(key): value for key, value in split.columns.items()}]


def _named(entry: Entry, name: str) -> list[dict[str, str]]:
    """What stands for the files that rows name, unless they lie in folders which are files of the split."""
    fields = FILES.intersection(entry.required)
    if not fields or any(file.endswith("/") for file in entry.split_files(name)):
        return []
    names = sorted({str(row[field]) for row in _load(entry, name) for field in fields})
    return [{"listing": remembered_listing({file: local_file(entry, DataFile(file, {}, None)) for file in names})}]


def _read(entry: Entry, name: str) -> bytes:
    path = local_file(entry, DataFile(name, {}, None))
    if path is None or not path.is_file():
        raise FileNotFoundError(f"corpus {entry.name}: {name} is not here, and a row names it")
    return path.read_bytes()
