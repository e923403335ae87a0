"""Lookup of corpora by name."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.corpora import builtin, entries, hub, local
from lslm_lightning.corpora.catalogue import CatalogueEntry, read_catalogue
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.safety.paths import nearest_path
from lslm_lightning.types import Settings

HUB_COLUMNS = "columns: {text: ...}, {document: ..., summary: ...} or {en: ..., zh: ...}"


def open_corpus(
    name: str,
    columns: Settings | None = None,
    languages: Sequence[str] = (),
    fields: Sequence[str] = (),
) -> Corpus:
    """Return the corpus with the given name.

    Rows are read or downloaded when they are first requested, except that a hub data set is
    downloaded here with all its splits.

    Args:
        name: an entry of corpora.yaml, a built-in corpus ("docstrings", "cldr"), a local file or
            folder, or a Hugging Face hub id ("owner/name" or "owner/name:configuration").
        columns: field of a row -> column of the files (see corpora.yaml); overrides the entry's
            columns.
        languages: languages to read from a parallel corpus; files of other languages may be absent.
        fields: fields that the current task reads; their columns are searched for in a local file
            or folder or a hub data set.

    Raises:
        ValueError: the corpus does not exist, or its description is invalid.
    """
    columns = dict(columns or {})
    if (entry := find_entry(name, columns, languages, fields)) is not None:
        return entries.open_entry(entry, columns, languages)
    if name in builtin.CORPORA:
        return builtin.CORPORA[name](columns)
    check_corpus_name(name, columns)
    return hub.open_hub(name, columns, fields, languages)


def check_corpus_name(name: str, columns: Settings) -> None:
    """Check that a corpus exists, without contacting the Hugging Face hub.

    Raises:
        ValueError: no corpus has this name; the message suggests the most similar one.
    """
    if name in builtin.CORPORA or Path(name).expanduser().exists():
        return
    catalogue = read_catalogue()
    if name in catalogue:
        return
    near = nearest_path(Path(name).expanduser())
    if hub.is_hub_id(name):
        if not columns and near is not None:
            question = f" (did you mean {str(near)!r}?)"
            raise ValueError(
                f"corpus {name!r} is no path here{question}; if it is an id of the Hugging Face "
                f"hub, say so with {HUB_COLUMNS}"
            )
        return
    known = sorted([*catalogue, *builtin.CORPORA])
    named = difflib.get_close_matches(name, known, 1)
    meant = [repr(each) for each in (named[:1] or ([str(near)] if near is not None else []))]
    suggestion = f"did you mean {meant[0]}?" if meant else f"known are {', '.join(known)}"
    raise ValueError(
        f"corpus {name!r} is neither in corpora.yaml nor built in nor a path nor a hub id "
        f"(owner/name); {suggestion}"
    )


def find_entry(
    name: str, columns: Settings, languages: Sequence[str] = (), fields: Sequence[str] = ()
) -> CatalogueEntry | None:
    """Return the corpora.yaml entry with this name, or an entry made for a local file or folder;
    None for built-in corpora and hub ids.

    Raises:
        ValueError: a description is invalid, or a path holds no corpus.
    """
    catalogue = read_catalogue()
    if name in catalogue:
        return catalogue[name]
    path = Path(name).expanduser()
    return (
        local.describe(path, columns, fields, languages)
        if name not in builtin.CORPORA and path.exists()
        else None
    )
