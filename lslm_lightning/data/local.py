"""A file or folder of this machine described as an entry."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import Any

from lslm_lightning.data.archives import bare_name, read_file
from lslm_lightning.data.catalogue import CatalogueEntry, Split
from lslm_lightning.data.columns import Meaning, find_meaning
from lslm_lightning.data.file_names import (
    ARCHIVES,
    FOLDERS,
    FORMATS,
    File,
    by_split,
    files_of,
    format_of,
    natural,
    part_of,
    refuse_twins,
    some_of,
)
from lslm_lightning.data.readers import READERS
from lslm_lightning.data.rows import named_fields, required_fields
from lslm_lightning.data.values import Record
from lslm_lightning.safety.paths import check_is_file
from lslm_lightning.text.language_names import is_language

TOGETHER = ("context", "audio")
"""Fields of other tasks: rows that agree in one are not split."""
SHARES = {"train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}
SHARE = 0.05
"""Of the documents of a folder, what val and test get each."""
SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")
"""What `datasets` writes beside the Arrow files that it saves."""
log = logging.getLogger(__name__)
HELD = (
    "neither parallel text (train.en, train.de) nor train.jsonl, .json, .tsv, .csv, .parquet, "
    ".arrow or .txt"
)


def describe(
    path: Path,
    columns: Mapping[str, Any],
    fields: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> CatalogueEntry:
    """The entry for a path.

    A folder holds tables or texts, `train.jsonl` (or tsv, csv, json, parquet, arrow, txt; packed
    too), or parallel text, `train.en` and `train.de`. A split may be several files,
    `train-00000-of-00002.jsonl`, or a folder. The splits validation, valid and dev are called val.
    Where no name says a split, documents of a folder are split 90/5/5 % by a hash of their names,
    and one text by characters; tables and parallel text by rows, equal ones together.

    Args:
        fields: those that the task at hand reads; () where nobody knows.
        languages: those that the task at hand reads; () where it says none.

    Raises:
        ValueError: there is nothing of the kind, files do not belong together, or the columns do
            not say which task it is.
    """
    check_is_file(path, takes_folders=True)
    return (_folder if path.is_dir() else _file)(path, columns, fields, languages)


def records_of(path: Path, n: int) -> list[Record]:
    """The first records of a corpus that is a path, before any column has a meaning.

    Raises:
        ValueError: there is nothing of the kind, or it cannot be read.
    """
    file = path if path.is_file() else path / _tables(path, files_of(path))[0].name
    return list(islice(READERS[_known_format(file)](file.name, read_file(file), True), n))


def _file(
    path: Path, columns: Mapping[str, Any], fields: Sequence[str], languages: Sequence[str]
) -> CatalogueEntry:
    if path.name.lower().endswith(ARCHIVES):
        raise ValueError(
            f"{path}: is an archive; unpack it into a folder, and give that as the corpus"
        )
    form = _known_format(path)
    meaning, header = _meaning(path, form, columns, fields, languages)
    if path.name.split(".")[0].lower() in FOLDERS:
        log.info(
            "%s: one file is split 90/5/5 %% here; its folder as the corpus has it as a whole", path
        )
    return _shared(
        path, path.parent, [path.name], form, meaning, header, "One file, split 90/5/5 % here."
    )


def _known_format(path: Path) -> str:
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
    meaning: Meaning,
    header: bool,
    note: str,
) -> CatalogueEntry:
    """Files without splits: rows, or the characters of texts, are shared out."""
    required = _required(meaning)
    files = names[0] if len(names) == 1 else list(names)
    known = required_fields(meaning.task, meaning.languages)
    return CatalogueEntry(
        name=str(path),
        task=meaning.task,
        languages=meaning.languages,
        format=form,
        splits={
            name: Split(files, share, columns=meaning.columns) for name, share in SHARES.items()
        },
        folder=str(folder),
        header=header,
        fields=required,
        share_of="characters"
        if form == "text"
        else known or tuple(f for f in TOGETHER if f in meaning.columns) or required,
        note=_sentences(note, meaning.assumed),
    )


def _folder(
    path: Path, columns: Mapping[str, Any], fields: Sequence[str], languages: Sequence[str]
) -> CatalogueEntry:
    files = files_of(path)
    if entry := _parallel_folder(path, files):
        return entry
    tables = _tables(path, files)
    form = tables[0].form
    meaning, header = _meaning(path / tables[0].name, form, columns, fields, languages)
    left_out = [file.name for file in files if file.form and file not in tables]
    if not tables[0].split and form == "text":
        return _documents(path, [file.name for file in tables], meaning)
    if not tables[0].split:
        names = [file.name for file in tables]
        note = (
            "One file" if len(names) == 1 else f"{len(names)} files without a split in their names"
        )
        return _shared(path, path, names, form, meaning, header, f"{note}, split 90/5/5 % here.")
    splits = {}
    for split, own in by_split(path, tables).items():
        splits[split] = Split([file.name for file in own], columns=meaning.columns)
    if left_out:
        log.info("%s: not read, for their names say no split: %s", path, some_of(left_out))
    note = _sentences(_parts_note(splits), meaning.assumed, _left_out_note(left_out))
    return CatalogueEntry(
        str(path),
        meaning.task,
        meaning.languages,
        form,
        splits,
        folder=str(path),
        header=header,
        fields=_required(meaning),
        note=note,
    )


def _documents(path: Path, names: Sequence[str], meaning: Meaning) -> CatalogueEntry:
    """A folder of texts, one document a file: split by a hash of their names; fewer than three of
    them by characters.
    """
    if len(names) < len(SHARES):
        return _shared(
            path,
            path,
            names,
            "text",
            meaning,
            True,
            f"{len(names)} texts, each split 90/5/5 % of its characters here.",
        )
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    n = max(1, round(SHARE * len(names)))
    chosen = {"train": ordered[2 * n :], "val": ordered[:n], "test": ordered[n : 2 * n]}
    splits = {
        split: Split(sorted(own, key=natural), columns=meaning.columns)
        for split, own in chosen.items()
    }
    note = (
        f"{len(names):,} texts, one document a file, split here by a hash of their names: "
        + ", ".join(f"{split} {len(own):,}" for split, own in chosen.items())
    )
    log.info("%s: %s", path, note)
    return CatalogueEntry(
        str(path),
        meaning.task,
        meaning.languages,
        "text",
        splits,
        folder=str(path),
        fields=_required(meaning),
        note=f"{note}.",
    )


def _tables(path: Path, files: Sequence[File]) -> list[File]:
    """Files of tables or texts that make the corpus, in order: those whose names say a split, or
    else all of one format.

    Raises:
        ValueError: there are none, or of several formats.
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
        hint = f"; unpack {archives[0]} and give that folder as the corpus" if archives else ""
        raise ValueError(f"{path}: holds {HELD}{hint}")
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
    """Parallel text: a file a language and part, in order; None where there is none in two
    languages.
    """
    sided = [file for file in files if file.language]
    sided = [file for file in sided if file.is_whole_split] or [
        file for file in sided if not file.split and is_language(file.language)
    ]
    if any(file.split and file.form and not file.language for file in files):
        return None
    parts = {key: list(own) for key, own in groupby(sorted(sided, key=part_of), key=part_of)}
    languages = tuple(
        dict.fromkeys(file.language for file in sorted(sided, key=lambda file: natural(file.name)))
    )
    if not any(len({file.language for file in own}) > 1 for own in parts.values()):
        return None
    refuse_twins(path, sided)
    stems = sorted({file.stem for file in sided if not file.split})
    if variants := [stem for stem in stems if any(stem.startswith(f"{other}.") for other in stems)]:
        raise ValueError(
            f"{path}: {variants[0]} may hold the text of another file again; put the files to be "
            "read into a folder"
        )
    splits: dict[str, list[str]] = {}
    for split, own in by_split(path, sided).items():
        keys = sorted({part_of(file) for file in own}, key=lambda key: natural(key[0]))
        complete = {file.language for file in own}
        for key in keys:
            if lacking := complete - {file.language for file in parts[key]}:
                there = some_of([file.name for file in parts[key]])
                twins = [
                    other
                    for other in parts
                    if other != key and bare_name(other[0]) == bare_name(key[0])
                ]
                if twins:
                    raise ValueError(
                        f"{path}: {there} and {some_of([file.name for file in parts[twins[0]]])} "
                        "are packed differently;"
                        f" pack all languages of a part in one way, or none"
                    )
                raise ValueError(
                    f"{path}: {there} has no file beside it in {', '.join(sorted(lacking))}, as "
                    "other files of"
                    f" {split or 'the corpus'} have; add it, or take the others of this part out "
                    "of the folder"
                )
        splits[split] = [key[0] for key in keys]
    if "" in splits:
        described = {name: Split(splits[""], share) for name, share in SHARES.items()}
        note = "No split in the names of the files, split 90/5/5 % here."
    else:
        described = {
            split: Split(own[0] if len(own) == 1 else own) for split, own in splits.items()
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


def _meaning(
    file: Path,
    form: str,
    columns: Mapping[str, Any],
    fields: Sequence[str],
    languages: Sequence[str],
) -> tuple[Meaning, bool]:
    """What the columns mean, and whether the first line holds names: it does, unless columns are
    chosen by position.
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
    meaning = find_meaning(str(file), first, columns, fields, languages)
    for assumed in meaning.assumed:
        log.info("%s: %s", file, assumed)
    return meaning, not positions


def _first(file: Path, form: str, header: bool = True) -> Record:
    for record in READERS[form](file.name, read_file(file), header):
        return record
    raise ValueError(f"{file}: has no rows")


def _required(meaning: Meaning) -> tuple[str, ...]:
    return required_fields(meaning.task, meaning.languages) or named_fields(meaning.columns)


def _parts_note(splits: Mapping[str, Split]) -> str:
    several = [
        f"{name} {len(split.files)}"
        for name, split in splits.items()
        if not isinstance(split.files, str) and len(split.files) > 1
    ]
    return f"Files read in order: {', '.join(several)}." if several else ""


def _left_out_note(names: Sequence[str]) -> str:
    return f"Not read, for their names say no split: {some_of(names)}." if names else ""


def _sentences(*parts: str | Iterable[str]) -> str:
    found = [
        part
        if isinstance(part, str)
        else "".join(f"{words[:1].upper()}{words[1:]}. " for words in part).strip()
        for part in parts
    ]
    return " ".join(part for part in found if part)
