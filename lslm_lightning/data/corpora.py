"""From a name to a corpus."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lslm_lightning.data import builtin, entries, hub, local
from lslm_lightning.data.catalogue import read_catalogue
from lslm_lightning.data.corpus import Corpus

HUB_COLUMNS = "columns: {text: ...}, {document: ..., summary: ...} or {en: ..., zh: ...}"


def open_corpus(name: str, columns: Mapping[str, Any] | None = None, languages: Sequence[str] = ()) -> Corpus:
    """The corpus of that name; nothing is read or fetched before its rows are asked for, but of the hub all splits.

    Args:
        name: an entry of corpora.yaml, a built-in ("docstrings", "cldr"), a file or folder of this machine, or a Hugging Face hub id
            ("owner/name" or "owner/name:configuration").
        columns: field of a row -> column of the files (see corpora.yaml), laid over those of the entry.
        languages: of a parallel corpus, those that are wanted; files of others need not be there.

    Raises:
        ValueError: there is no such corpus, or its description is wrong.
    """
    catalogue = read_catalogue()
    columns = dict(columns or {})
    if name in catalogue:
        return entries.open_entry(catalogue[name], columns, languages)
    if name in builtin.CORPORA:
        return builtin.CORPORA[name](columns)
    if Path(name).expanduser().exists():
        return entries.open_entry(local.describe(Path(name).expanduser(), columns), columns, languages)
    if hub.is_hub_id(name):
        if not columns:
            raise ValueError(
                f"corpus {name!r} is no path here{near_path(Path(name))}; as an id of the Hugging Face hub it needs {HUB_COLUMNS}"
            )
        return hub.open_hub(name, columns)
    known = sorted([*catalogue, *builtin.CORPORA])
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ValueError(f"corpus {name!r} is neither in corpora.yaml nor built in nor a path nor a hub id (owner/name); {hint}")


def near_path(path: Path) -> str:
    """A path beside it with nearly that name, as a question; "" if there is none."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, 1)
    return f" (did you mean {str(path.with_name(near[0]))!r}?)" if near else ""
