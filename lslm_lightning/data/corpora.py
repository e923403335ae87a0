"""From a name to a corpus."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lslm_lightning.data import builtin, entries, hub, local
from lslm_lightning.data.catalogue import Entry, read_catalogue
from lslm_lightning.data.corpus import Corpus

HUB_COLUMNS = "columns: {text: ...}, {document: ..., summary: ...} or {en: ..., zh: ...}"


def open_corpus(name: str, columns: Mapping[str, Any] | None = None, languages: Sequence[str] = (), fields: Sequence[str] = ()) -> Corpus:
    """The corpus of that name; nothing is read or fetched before its rows are asked for, but of the hub all splits.

    Args:
        name: an entry of corpora.yaml, a built-in ("docstrings", "cldr"), a file or folder of this machine, or a Hugging Face hub id
            ("owner/name" or "owner/name:configuration").
        columns: field of a row -> column of the files (see corpora.yaml), laid over those of the entry.
        languages: of a parallel corpus, those that are wanted; files of others need not be there.
        fields: of a path or hub id, those that the task at hand reads, so that their columns are found.

    Raises:
        ValueError: there is no such corpus, or its description is wrong.
    """
    columns = dict(columns or {})
    if (entry := find_entry(name, columns, languages, fields)) is not None:
        return entries.open_entry(entry, columns, languages)
    if name in builtin.CORPORA:
        return builtin.CORPORA[name](columns)
    if hub.is_hub_id(name):
        if not columns and (near := near_path(Path(name))):
            raise ValueError(f"corpus {name!r} is no path here{near}; if it is an id of the Hugging Face hub, say so with {HUB_COLUMNS}")
        return hub.open_hub(name, columns, fields, languages)
    known = sorted([*read_catalogue(), *builtin.CORPORA])
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ValueError(f"corpus {name!r} is neither in corpora.yaml nor built in nor a path nor a hub id (owner/name); {hint}")


def find_entry(name: str, columns: Mapping[str, Any], languages: Sequence[str] = (), fields: Sequence[str] = ()) -> Entry | None:
    """Description of an entry of corpora.yaml, or of a file or folder of this machine; None of any other corpus.

    Raises:
        ValueError: the description is wrong, or a path holds no corpus.
    """
    catalogue = read_catalogue()
    if name in catalogue:
        return catalogue[name]
    path = Path(name).expanduser()
    return local.describe(path, columns, fields, languages) if name not in builtin.CORPORA and path.exists() else None


def near_path(path: Path) -> str:
    """A path beside it with nearly that name, as a question; "" if there is none."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1)
    return f" (did you mean {str(path.with_name(near[0]))!r}?)" if near else ""
