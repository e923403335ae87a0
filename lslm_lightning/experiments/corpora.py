"""Implementation of `lslm data`: list corpora, download their files, check them."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lslm_lightning.corpora import builtin, local
from lslm_lightning.corpora.catalogue import USERS, CatalogueEntry, DataFile, read_catalogue
from lslm_lightning.corpora.column_proposals import columns_as_yaml
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.entries import first_records, open_entry
from lslm_lightning.corpora.fetching import local_file, n_byte, verified_file, verify
from lslm_lightning.corpora.locations import cache_directory, data_directories
from lslm_lightning.corpora.lookup import find_entry, open_corpus
from lslm_lightning.corpora.rows import Row, references_of
from lslm_lightning.evaluation.pair_alignment import describe_pairs
from lslm_lightning.experiments.corpus_tables import (
    N_RECORD,
    add_lengths,
    columns_table,
    config_of,
    measure_recordings,
    proposals,
    rows_table,
)
from lslm_lightning.localization import MESSAGES, Verbatim, padded, translated
from lslm_lightning.reports.words import labelled, words
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import resolve
from lslm_lightning.text.yaml_files import CatalogueLoader, MeaningError, parse_yaml
from lslm_lightning.types import JsonObject, Settings

REQUIRED = ("train", "val", "test")  # splits


def columns_given(text: str) -> JsonObject:
    """Parse the value of `--columns` (YAML or JSON) into a mapping from field names to column
    names.

    Raises:
        ArgumentTypeError: the value is not a mapping of names.
    """
    try:
        columns = parse_yaml(text, CatalogueLoader)
    except MeaningError as error:
        raise ArgumentTypeError(f"{text!r}: {error.problem}") from None
    except yaml.YAMLError:
        columns = None
    if not isinstance(columns, dict) or not all(
        isinstance(field, str) and not field.isdecimal() for field in columns
    ):
        raise ArgumentTypeError(
            f"{text!r} must map fields to columns, as in '{{en: english, de: german}}' (with "
            "quotes around the whole)"
        )
    return columns


def list_corpora(console: Console) -> int:
    """Print a table of all corpora, grouped by task, and return the exit status."""
    catalogue = read_catalogue()
    corpora = [open_corpus(name) for name in [*catalogue, *builtin.CORPORA]]
    table = Table(
        "corpus",
        "languages",
        "rows",
        "licence",
        "where",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    table.columns[1].max_width = 9
    table.columns[3].min_width = 14
    table.columns[4].min_width = 10
    for task in dict.fromkeys(corpus.task for corpus in corpora):
        table.add_section()
        table.add_row(Text(words(task.replace("_", " ")), "bold"))
        for corpus in (corpus for corpus in corpora if corpus.task == task):
            rows = "\n".join(
                f"{split} {corpus.sizes[split]:,}" if split in corpus.sizes else split
                for split in corpus.splits
            )
            where = _where(catalogue[corpus.name]) if corpus.name in catalogue else "built in"
            where = translated(where, MESSAGES)
            licence = words(corpus.licence)
            table.add_row(corpus.name, " ".join(corpus.languages), rows, licence, where)
    console.print(table)
    console.print(
        f"docstrings has documents for language modeling too. Your own corpora go into {USERS}.",
        soft_wrap=True,
    )
    for folder in data_directories():
        label = padded(translated(_label(folder), MESSAGES), 11)
        console.print(f"{label}{folder}/<corpus>/", soft_wrap=True)
    return 0


def _label(folder: Path) -> str:
    """Return a short label, "cache", "LSLM_DATA" or "here", for a folder that is searched for
    corpora.
    """
    if folder == cache_directory() / "data":
        return "cache"
    return "LSLM_DATA" if folder == Path(os.environ.get("LSLM_DATA", "")).expanduser() else "here"


def _where(entry: CatalogueEntry) -> str:
    """Return a text that says in which folder the files of a corpus were found and which are
    missing.
    """
    found = {file.name: local_file(entry, file) for file in entry.data_files}
    missing = [name for name, path in found.items() if path is None]
    if len(missing) == len(found):
        return "not here"
    folders = [
        folder
        for folder in data_directories()
        if any(path and path.is_relative_to(folder) for path in found.values())
    ]
    labels = (translated(_label(folder), MESSAGES) for folder in folders)
    where = entry.folder or ", ".join(labels)
    return where + (f", but not {', '.join(missing)}" if missing else "")


def fetch_files(console: Console, name: str) -> int:
    """Download the missing files of a corpus, verify all its files, and print one line per file.

    Returns:
        Exit status of the command.
    """
    if name in builtin.CORPORA:
        console.print(f"{name} is built in: there is nothing to fetch")
        return 0
    catalogue = read_catalogue()
    if name not in catalogue:
        near = get_close_matches(name, catalogue, 1)
        other = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(catalogue)}"
        raise ValueError(
            f"corpus {name!r} is not in corpora.yaml, so its files are not known; {other}"
        )
    entry = catalogue[name]
    licence = translated("licence", MESSAGES)
    console.print(f"{name}, {licence}: {entry.licence}", soft_wrap=True)
    for file in entry.data_files:
        here = local_file(entry, file)
        path = verified_file(entry, file)
        console.print(
            f"{file.name}: {'was here' if here else 'fetched'}, {checksum_state(file)}, {path}",
            soft_wrap=True,
        )
    return 0


def checksum_state(file: DataFile) -> str:
    """Return a text for a table that says whether a checksum of the file is known."""
    return "checksum agrees" if file.checksums else "no checksum known"


def check_corpus(
    console: Console, name: str, columns: Settings | None, data: str | None = None
) -> int:
    """Verify the files of a corpus, read all splits, and print statistics and an example config.

    Args:
        name: name or path of the corpus.
        columns: column of each field; None for the columns that the corpus defines.
        data: import path of the data class of a user's task, which reads the corpus; None for a
            corpus of a task that is told from its fields.

    Returns:
        1 if there are faults, which are printed to standard error; otherwise 0.
    """
    columns = dict(columns or {})
    fields = fields_of(data) if data else ()
    try:
        entry = find_entry(name, columns, fields=fields)
        corpus = (
            open_corpus(name, columns, fields=fields)
            if entry is None
            else open_entry(entry, columns)
        )
    except ValueError:
        _show_unknown(console, name, columns)
        raise
    problems: list[str] = []
    faulty: set[str] = set()
    if entry and name in read_catalogue():
        problems, faulty = check_files(console, entry)
    if not problems:
        _show_columns(console, corpus, entry, columns)
    readable = [
        split for split in corpus.splits if not (entry and faulty & set(entry.split_files(split)))
    ]
    problems += _show_splits(console, corpus, readable)
    for label, text in (
        (translated("licence", MESSAGES), corpus.licence),
        (translated("source", MESSAGES), corpus.citation),
        (translated("home", MESSAGES), corpus.home),
        (translated("note", MESSAGES), corpus.note),
    ):
        if text:
            console.print(labelled(Verbatim(label), words(text)), soft_wrap=True)
    if corpus.comparability:
        console.print(f"! {corpus.comparability}", style="yellow", soft_wrap=True)
    if not problems and not data and (config := config_of(corpus, columns)):
        console.print(
            "\nconfig of lslm evaluate, but for its systems; lslm run takes the same data:",
            soft_wrap=True,
        )
        print(config, end="")
    for problem in dict.fromkeys(problems):  # a file that splits share has one fault
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def fields_of(data: str) -> Sequence[str]:
    """Return the fields of a row that a data class reads.

    Args:
        data: import path of the class.

    Raises:
        ValueError: the class cannot be imported, or states no fields.
    """
    add_working_directory(data)
    fields: Sequence[str] = getattr(resolve(data), "fields", ())
    if isinstance(fields, str) or not fields or not all(isinstance(each, str) for each in fields):
        raise ValueError(
            f"--data={data} must be a data class with `fields`, the names of the fields that it "
            "reads of a row; leave it out for the five tasks that come with the package"
        )
    return fields


def _show_splits(console: Console, corpus: Corpus, splits: Sequence[str]) -> list[str]:
    """Print a table with statistics of splits, and warnings.

    Returns:
        Faults that make a split unreadable.
    """
    table = Table(
        "split",
        "rows",
        "field",
        "mean length",
        "in words",
        "longest",
        "digest of files",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in (1, 3, 4, 5):
        table.columns[column].justify = "right"
    warnings = []
    problems = []
    for split in splits:
        try:
            rows = corpus.rows(split)
            if len(rows) != corpus.sizes.get(split, len(rows)):
                raise ValueError(
                    f"corpus {corpus.name}: {split} has {len(rows)} rows, but "
                    f"{corpus.sizes[split]} are declared"
                )
            recordings = measure_recordings(corpus, rows)
            if unread := recordings.unread:
                warnings += [
                    f"! {split}: {len(unread):,} of {len(rows):,} recordings cannot be read, "
                    f"{unread[0]} is one"
                ]
            add_lengths(table, corpus, split, rows, recordings.seconds)
            if warning := misaligned_rows(corpus, rows):
                warnings += [f"! {split}: {warning}; are both sides in one order?"]
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if missing := [split for split in REQUIRED if split not in corpus.splits]:
        warnings += [
            f"! {corpus.name} has no {', '.join(missing)}: lslm run needs train, val and test, "
            "lslm evaluate needs test"
        ]
    if table.rows:
        console.print(table)
    for warning in warnings:
        console.print(warning, style="yellow", soft_wrap=True)
    return problems


def _show_columns(
    console: Console, corpus: Corpus, entry: CatalogueEntry | None, columns: Settings
) -> None:
    """Print a table of the columns of a corpus and the field that each column is read as."""
    try:
        if entry is None or entry.format == "parallel":
            console.print(rows_table(corpus, corpus.splits[0]))
            return
        split = next(iter(entry.splits.values()))
        named = {field: field for field in corpus.fields}
        console.print(
            columns_table(
                first_records(entry, N_RECORD),
                {**named, **entry.columns, **split.columns, **columns},
            )
        )
    except (ValueError, OSError):
        return  # reading the splits tells what is wrong


def _show_unknown(console: Console, name: str, columns: Settings) -> None:
    """Print the columns of a file whose fields are unknown, with example configs for suitable
    tasks.
    """
    path = Path(name).expanduser()
    try:
        first = local.records_of(path, N_RECORD) if path.exists() else []
        found = proposals(first) if not columns else []
        configs = {
            columns_as_yaml(proposal): config_of(open_corpus(name, proposal), proposal)
            for proposal in found
        }
    except (ValueError, OSError):
        return  # which the caller tells
    if first:
        console.print(columns_table(first, columns))
    for mapping, config in configs.items():
        console.print(f"\nperhaps {mapping}:", soft_wrap=True)
        print(config, end="")


def misaligned_rows(corpus: Corpus, rows: Sequence[Row]) -> str:
    """Return a warning if the two sides of a parallel corpus look misaligned; "" otherwise."""
    if corpus.task not in ("translation", "summarization") or len(corpus.fields) < 2:
        return ""
    sides = [[references_of(row[field])[0] for row in rows] for field in corpus.fields[:2]]
    return describe_pairs(*sides)


def check_files(console: Console, entry: CatalogueEntry) -> tuple[list[str], set[str]]:
    """Print a table of the files of a corpus.

    Returns:
        A list of problems, and the names of missing or damaged files.
    """
    problems = []
    missing = []
    differing = []
    table = Table("file", "bytes", "checksum", "where", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    for file in entry.data_files:
        path = local_file(entry, file)
        if path is None:
            table.add_row(file.name, "", translated("not here", MESSAGES))
            missing.append(file.name)
            continue
        try:
            verify(path, file, use_cache=False)
            state = checksum_state(file)
        except ValueError as error:
            state = "differs"
            differing.append(file.name)
            problems.append(str(error))
        state = translated(state, MESSAGES)
        table.add_row(file.name, f"{n_byte(path):,}", state, str(path.parent))
    console.print(table)
    if missing:
        problems.append(
            f"corpus {entry.name}, not here: {', '.join(missing)}; lslm data fetch {entry.name} "
            "gets what is missing"
        )
    return problems, {*missing, *differing}
