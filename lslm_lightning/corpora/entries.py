"""Corpora described by catalogue entries: find and read their files, select columns and divide rows
into splits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from lslm_lightning.corpora.archives import bare_name, read_file, read_members
from lslm_lightning.corpora.catalogue import CatalogueEntry, DataFile, Split
from lslm_lightning.corpora.checksums import cached_checksum, cached_listing
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.corpus_formats import read_parallel, read_sphinx
from lslm_lightning.corpora.fetching import local_file, verified_file
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import (
    FILES,
    Row,
    columns_nobody_has,
    required_fields,
    to_row,
    without_empty,
)
from lslm_lightning.corpora.shares import (
    characters_share,
    group_positions,
    select_rows,
    without_empty_shares,
)
from lslm_lightning.corpora.values import Record, location_of
from lslm_lightning.text.language_names import match_language
from lslm_lightning.types import Json, Settings

# rows of files that several splits divide, and the position of each row, by the first such split
Divided: TypeAlias = dict[str, tuple[list[Row], list[float]]]


def open_entry(entry: CatalogueEntry, columns: Settings, languages: Sequence[str] = ()) -> Corpus:
    """Return a catalogue entry as a corpus.

    Args:
        columns: field -> column; overrides the column settings of the entry.
        languages: languages to read from a parallel corpus. If the entry lacks one of them, the
            languages that `columns` names are read instead. Each is stored under the requested
            code: for "zh-CN" the entry's zh is read.
    """
    asked = _asked_for(entry, columns, languages)
    if asked:
        renamed = {
            code: entry.columns.get(known, known) for code, known in asked.items() if code != known
        }
        entry = _of_languages(entry, [code for code in entry.languages if code in asked.values()])
        entry = replace(
            entry, fields=required_fields("translation", tuple(asked)) if renamed else entry.fields
        )
        columns = {**renamed, **columns}
    splits = {
        name: replace(split, columns={**entry.columns, **split.columns, **columns})
        for name, split in entry.splits.items()
    }
    entry = replace(entry, splits=splits)
    divided: Divided = {}
    corpus = Corpus(
        name=entry.name,
        task=entry.task,
        languages=tuple(asked) if asked else entry.languages,
        splits=tuple(entry.splits),
        load=lambda split: _load(entry, split, divided),
        fingerprint=lambda split: _fingerprint(entry, split, corpus.rows),
        read=lambda name: _read(entry, name),
        licence=entry.licence,
        citation=entry.citation,
        home=entry.home,
        note=entry.note,
        fields=entry.required,
        sizes={name: split.rows for name, split in splits.items() if split.rows},
        join=entry.join,
    )
    return corpus


def _asked_for(
    entry: CatalogueEntry, columns: Settings, languages: Sequence[str]
) -> dict[str, str]:
    """Return requested code -> code in the entry, in the order of the entry's languages.

    The requested codes are `languages` if the entry has all of them, otherwise the languages that
    `columns` names.
    """
    if entry.task != "translation":
        return {}
    matches = {language: match_language(language, entry.languages) for language in languages}
    known = {asked: code for asked, code in matches.items() if code is not None}
    if not known or len(set(known.values())) < len(matches):
        known = {language: language for language in entry.languages if language in columns}
    return dict(sorted(known.items(), key=lambda item: entry.languages.index(item[1])))


def _of_languages(entry: CatalogueEntry, languages: Sequence[str]) -> CatalogueEntry:
    """Return the entry restricted to some of its languages.

    If its splits list one file per language, the files of other languages are removed.
    """
    splits = dict(entry.splits)
    for name, split in splits.items():
        is_listed = not isinstance(split.files, str) and not any(
            "{language}" in file for file in split.files
        )
        if entry.format == "parallel" and is_listed and len(split.files) == len(entry.languages):
            files = zip(entry.languages, split.files, strict=True)
            splits[name] = replace(
                split, files=[file for language, file in files if language in languages]
            )
    return replace(entry, languages=tuple(languages), splits=splits)


def _load(entry: CatalogueEntry, name: str, divided: Divided) -> list[Row]:
    """Return the rows of the split `name`.

    Args:
        divided: rows that were read before; those of this split are added if others share its
            files.
    """
    share = entry.splits[name].share
    if share is None:
        rows = _whole(entry, name)
    else:
        rows = _share(entry, name, share, divided)
        if not rows or not rows[0][entry.required[0]]:
            raise ValueError(
                f"corpus {entry.name}: nothing is left for {name}, share {list(share)}; it "
                "is too small for these shares"
            )
    if len(distinct := {row["id"] for row in rows}) < len(rows):
        raise ValueError(
            f"corpus {entry.name}: ids must be unique, but {name} has {len(distinct)} for "
            f"{len(rows)} rows; choose another column"
            f" for id, or set columns: {{row_id: null}}, which numbers the rows"
        )
    return rows


def _whole(entry: CatalogueEntry, name: str) -> list[Row]:
    """Return all rows in the files of the split `name`, also those outside its share."""
    split = entry.splits[name]
    required = entry.required
    records = list(_records(entry, name))
    if not entry.files and columns_nobody_has(records, split.columns):
        firsts = [
            record
            for other in entry.splits
            if other != name
            for record in islice(_records(entry, other), 1)
        ]
        for column in columns_nobody_has([*records, *firsts], split.columns):
            raise ValueError(
                f"corpus {entry.name}: no row has the column {column!r}, which columns names; "
                "correct it, or leave it out"
            )
    rows = [
        to_row(record, split.columns, required, entry.join, entry.answers) for record in records
    ]
    rows = without_empty(
        f"corpus {entry.name}",
        rows,
        required,
        entry.empty,
        [location_of(record) for record in records],
    )
    if split.where is not None:
        rows = select_rows(rows, split.where, f"corpus {entry.name}: splits.{name}.where")
    return rows


def _share(
    entry: CatalogueEntry, name: str, share: tuple[float, float], divided: Divided
) -> list[Row]:
    """Return the rows, or the part of each text, that belong to the fraction `share` of the files
    of the split `name`.
    """
    low, high = share
    files = _unshared(entry.splits[name])
    same = {
        each: other.share
        for each, other in entry.splits.items()
        if other.share and _unshared(other) == files
    }
    first = next(iter(same))
    if first not in divided:
        rows = _whole(entry, name)
        positions: list[float] = []
        if entry.share_of != "characters":
            groups = group_positions(rows, entry.share_of, entry.seed)
            positions = without_empty_shares(groups, list(same.values()))
        divided[first] = rows, positions
    rows, positions = divided[first]
    if entry.share_of == "characters":
        return [characters_share(row, low, high) for row in rows]
    return [row for row, position in zip(rows, positions, strict=True) if low <= position < high]


def _unshared(split: Split) -> Split:
    """Return a split without its share and size, so that splits that divide the same files compare
    equal.
    """
    return replace(split, share=None, rows=None)


def split_paths(entry: CatalogueEntry, name: str) -> list[Path]:
    """Return the local paths of a split's files, which are downloaded if necessary and verified."""
    files = {file.name: file for file in entry.data_files}
    return [verified_file(entry, files[file]) for file in entry.split_files(name)]


def first_records(entry: CatalogueEntry, n: int) -> list[Record]:
    """Return the first `n` records of the first split, with the original columns of the files.

    Raises:
        ValueError: the files cannot be read.
    """
    return list(islice(_records(entry, next(iter(entry.splits))), n))


def _records(entry: CatalogueEntry, name: str) -> Iterator[Record]:
    """Yield the records of the split `name`, with the original columns of the files."""
    split = entry.splits[name]
    paths = split_paths(entry, name)
    names = _record_names(entry, name)
    if entry.format == "parallel":
        yield from _parallel_records(
            entry.parallel_files(name), dict(zip(names, paths, strict=True))
        )
    elif entry.format == "sphinx":
        yield from read_sphinx(
            {path.name: b"" if path.is_dir() else read_file(path) for path in paths}
        )
    else:
        read = READERS[entry.format]
        for (file, shown), path in zip(names.items(), paths, strict=True):
            if not split.members and file.endswith("/"):
                continue  # a folder holds what rows name
            members = (
                read_members(path, split.members) if split.members else [(shown, read_file(path))]
            )
            for member, data in members:
                yield from read(member, data, entry.header)


def _record_names(entry: CatalogueEntry, name: str) -> dict[str, str]:
    """Return file -> name used in row ids, for the files of the split `name`.

    This is the bare file name, or the path within the corpus if two files have the same bare name.
    """
    bare = {PurePosixPath(file.name).name for file in entry.data_files}
    are_distinct = len(bare) == len(entry.data_files)
    return {
        file: PurePosixPath(file).name if are_distinct else file for file in entry.split_files(name)
    }


def _parallel_records(
    parts: Sequence[Mapping[str, str]], paths: Mapping[str, Path]
) -> Iterator[Record]:
    """Yield the aligned sentences of all parts in order; with several parts, ids begin with the
    name of the part.

    Args:
        parts: language -> file name, for each part.
        paths: file name -> local path.
    """
    for part in parts:
        records = read_parallel(
            {
                language: (paths[file].name, read_file(paths[file]))
                for language, file in part.items()
            }
        )
        if len(parts) == 1:
            yield from records
            continue
        first = next(iter(part))
        label = bare_name(part[first]).removesuffix(f".{first}")
        for number, record in enumerate(records, 1):
            yield Record(f"{label}:{number}", {language: record[language] for language in part})


def _fingerprint(entry: CatalogueEntry, name: str, rows_of: Callable[[str], Sequence[Row]]) -> Json:
    """Return a JSON value that determines the rows of the split `name`.

    It holds the checksums declared in the catalogue; the checksums of files without one, and of
    files that rows name, are computed.

    Args:
        rows_of: returns the rows of a split.
    """
    files = {file.name: file for file in entry.data_files}
    contents: list[Mapping[str, str]] = []
    for file in entry.split_files(name):
        contents.append(
            files[file].checksums or {"sha256": cached_checksum(verified_file(entry, files[file]))}
        )
    split = entry.splits[name]
    contents += _named_files_checksum(entry, name, rows_of)
    reading: list[Json] = [
        entry.format,
        entry.header,
        entry.join,
        entry.share_of,
        entry.seed,
        entry.empty,
        entry.languages,
    ]
    # digests of all others stay as they were
    reading += [] if split.where is None else [split.where]
    return [
        contents,
        reading,
        split.share,
        split.members,
        {str(key): value for key, value in split.columns.items()},
    ]


def _named_files_checksum(
    entry: CatalogueEntry, name: str, rows_of: Callable[[str], Sequence[Row]]
) -> list[dict[str, str]]:
    """Return the checksum of the files that rows name; [] if they lie in folders that the split
    lists.
    """
    fields = FILES.intersection(entry.required)
    if not fields or any(file.endswith("/") for file in entry.split_files(name)):
        return []
    names = sorted({str(row[field]) for row in rows_of(name) for field in fields})
    return [
        {
            "listing": cached_listing(
                {file: local_file(entry, DataFile(file, {}, None)) for file in names}
            )
        }
    ]


def _read(entry: CatalogueEntry, name: str) -> bytes:
    """Return the bytes of the file `name`, which a row refers to."""
    path = local_file(entry, DataFile(name, {}, None))
    if path is None or not path.is_file():
        raise FileNotFoundError(f"corpus {entry.name}: {name} is not here, and a row names it")
    return path.read_bytes()
