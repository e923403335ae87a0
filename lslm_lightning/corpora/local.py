"""Catalogue entries for local files and folders that are used as corpora."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import NoReturn

from lslm_lightning.corpora.archives import bare_name, read_file
from lslm_lightning.corpora.catalogue import CatalogueEntry, Split
from lslm_lightning.corpora.columns import FoundColumns, find_columns
from lslm_lightning.corpora.file_names import (
    ARCHIVES,
    FOLDERS,
    FORMATS,
    File,
    beginnings,
    by_split,
    files_of,
    format_of,
    natural,
    part_of,
    refuse_twins,
    some_of,
)
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import named_fields, required_fields
from lslm_lightning.corpora.values import Record
from lslm_lightning.safety.paths import check_is_file
from lslm_lightning.text.language_names import is_language
from lslm_lightning.types import Settings

TOGETHER = ("context", "audio")
"""Fields of other tasks; rows that are equal in one of them stay in one split."""
SHARES = {"train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}
SHARE = 0.05
"""Share of a folder's documents that val and test get each."""
SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")
"""Files that `datasets` writes beside the Arrow files that it saves."""
log = logging.getLogger(__name__)
HELD = (
    "neither parallel text (train.en, train.de) nor train.jsonl, .json, .tsv, .csv, .parquet, "
    ".arrow or .txt"
)


def describe(
    path: Path,
    columns: Settings,
    fields: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> CatalogueEntry:
    """Return a catalogue entry that describes a local file or folder.

    A folder holds tables or texts (`train.jsonl`, .tsv, .csv, .json, .parquet, .arrow or .txt, also
    compressed) or parallel text (`train.en` and `train.de`). A split may be several files,
    `train-00000-of-00002.jsonl`, or a folder. The splits validation, valid and dev are called val.
    If no name states a split, the data are split 90/5/5 %: the documents of a folder by a hash of
    their names, a single text by characters, tables and parallel text by rows, with equal rows kept
    together.

    Args:
        columns: field -> column as the user set them.
        fields: fields that the current task reads; () if unknown.
        languages: languages that the current task reads; () if the task states none.

    Raises:
        ValueError: the path holds no corpus, its files do not belong together, or the columns do
            not determine a task.
    """
    check_is_file(path, takes_folders=True)
    return (_folder if path.is_dir() else _file)(path, columns, fields, languages)


def records_of(path: Path, n: int) -> list[Record]:
    """Return the first `n` records of a local corpus, with the original columns of its files.

    Raises:
        ValueError: the path holds no corpus, or it cannot be read.
    """
    file = path if path.is_file() else path / _tables(path, files_of(path))[0].name
    return list(islice(READERS[_known_format(file)](file.name, read_file(file), True), n))


def _file(
    path: Path, columns: Settings, fields: Sequence[str], languages: Sequence[str]
) -> CatalogueEntry:
    if path.name.lower().endswith(ARCHIVES):
        raise ValueError(
            f"{path}: is an archive; unpack it into a folder, and give that as the corpus"
        )
    form = _known_format(path)
    found, header = _find_columns(path, form, columns, fields, languages)
    if path.name.split(".")[0].lower() in FOLDERS:
        log.info(
            "%s: one file is split 90/5/5 %% here; its folder as the corpus has it as a whole", path
        )
    return _shared(
        path, path.parent, [path.name], form, found, header, "One file, split 90/5/5 % here."
    )


def _known_format(path: Path) -> str:
    """Return the format of a file from its name; raise ValueError if it is not supported."""
    form = format_of(path)
    if form is None:
        raise ValueError(
            f"{path}: cannot tell the format from the name; it must end in {', '.join(FORMATS)}, "
            "packed (.gz, .bz2, .xz, .zst) or not"
        )
    return form


def _shared(
    path: Path,
    folder: Path,
    names: Sequence[str],
    form: str,
    found: FoundColumns,
    header: bool,
    note: str,
) -> CatalogueEntry:
    """Return the entry for files without splits, whose rows or characters are split 90/5/5 %."""
    required = _required(found)
    files = names[0] if len(names) == 1 else list(names)
    known = required_fields(found.task, found.languages)
    return CatalogueEntry(
        name=str(path),
        task=found.task,
        languages=found.languages,
        format=form,
        splits={name: Split(files, share, columns=found.columns) for name, share in SHARES.items()},
        folder=str(folder),
        header=header,
        fields=required,
        share_of="characters"
        if form == "text"
        else known or tuple(f for f in TOGETHER if f in found.columns) or required,
        note=_sentences(note, found.assumed),
    )


def _folder(
    path: Path, columns: Settings, fields: Sequence[str], languages: Sequence[str]
) -> CatalogueEntry:
    files = files_of(path)
    if entry := _parallel_folder(path, files):
        return entry
    tables = _tables(path, files)
    form = tables[0].form
    found, header = _find_columns(path / tables[0].name, form, columns, fields, languages)
    names = [file.name for file in tables]
    left_out = sorted({file.name for file in files if file.form} - {*names}, key=natural)
    if not tables[0].split and form == "text":
        return _documents(path, names, found)
    if not tables[0].split:
        note = (
            "One file" if len(names) == 1 else f"{len(names)} files without a split in their names"
        )
        return _shared(path, path, names, form, found, header, f"{note}, split 90/5/5 % here.")
    splits = {}
    for split, group in by_split(path, tables).items():
        splits[split] = Split([file.name for file in group], columns=found.columns)
    if left_out:
        log.info("%s: not read, for their names state no split: %s", path, some_of(left_out))
    note = _sentences(_parts_note(splits), found.assumed, _left_out_note(left_out))
    return CatalogueEntry(
        str(path),
        found.task,
        found.languages,
        form,
        splits,
        folder=str(path),
        header=header,
        fields=_required(found),
        note=note,
    )


def _documents(path: Path, names: Sequence[str], found: FoundColumns) -> CatalogueEntry:
    """Return the entry for a folder of texts, one document per file.

    The documents are split by a hash of their names; fewer than three are split by characters.
    """
    if len(names) < len(SHARES):
        return _shared(
            path,
            path,
            names,
            "text",
            found,
            True,
            f"{len(names)} texts, each split 90/5/5 % of its characters here.",
        )
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    n = max(1, round(SHARE * len(names)))
    chosen = {"train": ordered[2 * n :], "val": ordered[:n], "test": ordered[n : 2 * n]}
    splits = {
        split: Split(sorted(chosen_names, key=natural), columns=found.columns)
        for split, chosen_names in chosen.items()
    }
    note = (
        f"{len(names):,} texts, one document a file, split here by a hash of their names: "
        + ", ".join(f"{split} {len(chosen_names):,}" for split, chosen_names in chosen.items())
    )
    log.info("%s: %s", path, note)
    return CatalogueEntry(
        str(path),
        found.task,
        found.languages,
        "text",
        splits,
        folder=str(path),
        fields=_required(found),
        note=f"{note}.",
    )


def _tables(path: Path, files: Sequence[File]) -> list[File]:
    """Return the files of tables or texts that form the corpus, sorted by name.

    These are the files whose names state a split or, if there are none, all files.

    Raises:
        ValueError: there are no such files, or they have several formats.
    """
    about = SAVED if any(file.form == "arrow" for file in files) else ()
    readable = [file for file in files if file.form and PurePosixPath(file.name).name not in about]
    tables = [file for file in readable if file.split] or readable
    are_texts = all(file.form == "text" for file in readable)
    if (
        are_texts
        and len(tables) < len(readable)
        and not any(file.split in FOLDERS for file in tables)
    ):
        tables = readable  # documents: of those some may be called test_of_time.txt
    if not tables:
        archives = [file.name for file in files if file.name.lower().endswith(ARCHIVES)]
        if archives:
            raise ValueError(
                f"{path}: holds {HELD}; unpack {archives[0]} and give that folder as the corpus"
            )
        raise ValueError(f"{path}: holds {HELD}")
    formats = sorted({file.form for file in tables})
    if len(formats) > 1:
        names = some_of([file.name for file in tables])
        raise ValueError(
            f"{path}: {names} are of several formats; name one file, or describe them in "
            "configs/corpora.yaml"
        )
    refuse_twins(path, tables)
    return sorted(tables, key=lambda file: natural(file.name))


def _parallel_folder(path: Path, files: Sequence[File]) -> CatalogueEntry | None:
    """Return the entry for a folder of parallel text, with a file for each language and part.

    Return None if no part has files in two languages.

    Raises:
        ValueError: a part lacks a language, or two files may hold the same text.
    """
    sided = [file for file in files if file.language]
    sided = [file for file in sided if file.is_whole_split] or [
        file for file in sided if not file.split and is_language(file.language)
    ]
    if any(file.split and file.form and not file.language for file in files):
        return None
    parts = {key: list(group) for key, group in groupby(sorted(sided, key=part_of), key=part_of)}
    languages = tuple(
        dict.fromkeys(file.language for file in sorted(sided, key=lambda file: natural(file.name)))
    )
    if not any(len({file.language for file in group}) > 1 for group in parts.values()):
        return None
    refuse_twins(path, sided)
    stems = {file.stem for file in sided if not file.split}
    if variants := sorted(stem for stem in stems if not stems.isdisjoint(beginnings(stem))):
        raise ValueError(
            f"{path}: {variants[0]} may hold the text of another file again; put the files to be "
            "read into a folder"
        )
    splits: dict[str, list[str]] = {}
    for split, group in by_split(path, sided).items():
        keys = sorted({part_of(file) for file in group}, key=lambda key: natural(key[0]))
        of_split = {file.language for file in group}
        for key in keys:
            if lacking := of_split - {file.language for file in parts[key]}:
                _refuse_incomplete(path, split, parts, key, lacking)
        splits[split] = [key[0] for key in keys]
    if "" in splits:
        described = {name: Split(splits[""], share) for name, share in SHARES.items()}
        note = "No split in the names of the files, split 90/5/5 % here."
    else:
        described = {
            split: Split(names[0] if len(names) == 1 else names) for split, names in splits.items()
        }
        note = _parts_note(described)
    return CatalogueEntry(
        name=str(path),
        task="translation",
        languages=languages,
        format="parallel",
        splits=described,
        folder=str(path),
        share_of=required_fields("translation", languages) if "" in splits else (),
        note=note,
    )


def _refuse_incomplete(
    path: Path,
    split: str,
    parts: Mapping[tuple[str], Sequence[File]],
    key: tuple[str],
    lacking: Iterable[str],
) -> NoReturn:
    """Raise ValueError for the part `key` of parallel text, which has no file for the languages
    `lacking`.
    """
    present = some_of([file.name for file in parts[key]])
    twins = [other for other in parts if other != key and bare_name(other[0]) == bare_name(key[0])]
    if twins:
        raise ValueError(
            f"{path}: {present} and {some_of([file.name for file in parts[twins[0]]])} are packed "
            "differently; pack all languages of a part in one way, or none"
        )
    raise ValueError(
        f"{path}: {present} has no file beside it in {', '.join(sorted(lacking))}, as other files "
        f"of {split or 'the corpus'} have; add it, or take the others of this part out of the "
        "folder"
    )


def _find_columns(
    file: Path,
    form: str,
    columns: Settings,
    fields: Sequence[str],
    languages: Sequence[str],
) -> tuple[FoundColumns, bool]:
    """Return the columns of a file by field, and whether its first line is a header.

    The first line is a header unless the user selected columns by position.

    Raises:
        ValueError: a field has no column, or the file has no rows.
    """
    if form == "text" and languages:
        raise ValueError(
            f"corpus {file}: is running text without {' and '.join(languages)}; parallel text is "
            "a file a language"
            f" (train.{languages[0]}, train.{languages[-1]}), or a table: with a tab between two "
            "sentences of a line call it .tsv and set"
            f" data.columns={{{languages[0]}: 0, {languages[-1]}: 1}}"
        )
    positions = any(isinstance(column, int) for column in columns.values())
    first = Record(file.name, {"text": ""}) if form == "text" else _first(file, form, not positions)
    found = find_columns(str(file), first, columns, fields, languages)
    for assumed in found.assumed:
        log.info("%s: %s", file, assumed)
    return found, not positions


def _first(file: Path, form: str, header: bool = True) -> Record:
    """Return the first record of a file; raise ValueError if it has none."""
    for record in READERS[form](file.name, read_file(file), header):
        return record
    raise ValueError(f"{file}: has no rows")


def _required(found: FoundColumns) -> tuple[str, ...]:
    """Return the fields that every row has."""
    return required_fields(found.task, found.languages) or named_fields(found.columns)


def _parts_note(splits: Mapping[str, Split]) -> str:
    """Return a sentence with the number of files of each split that has several; "" if none has."""
    several = [
        f"{name} {len(split.files)}"
        for name, split in splits.items()
        if not isinstance(split.files, str) and len(split.files) > 1
    ]
    return f"Files read in order: {', '.join(several)}." if several else ""


def _left_out_note(names: Sequence[str]) -> str:
    """Return a sentence that lists files that are not read; "" if there are none."""
    return f"Not read, for their names say no split: {some_of(names)}." if names else ""


def _sentences(*parts: str | Iterable[str]) -> str:
    """Join sentences with spaces; each clause of a list of clauses is made a sentence first."""
    sentences = [
        part
        if isinstance(part, str)
        else "".join(f"{clause[:1].upper()}{clause[1:]}. " for clause in part).strip()
        for part in parts
    ]
    return " ".join(part for part in sentences if part)
