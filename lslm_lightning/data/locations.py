"""Folders of this machine that hold corpora and everything derived from them."""

import os
from pathlib import Path

from lslm_lightning.safety.paths import is_inside


def cache_directory() -> Path:
    """Return the user's cache: `$LSLM_CACHE`, or `lslm-lightning` in `$XDG_CACHE_HOME` or
    `~/.cache`. It may not exist yet.
    """
    if chosen := os.environ.get("LSLM_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lslm-lightning"


def data_directories() -> list[Path]:
    """Return the folders that may hold `<corpus>/<file>`, in the order they are searched.

    Raises:
        ValueError: `$LSLM_DATA` is set and is no folder; a misspelt path must not lead to another
            copy of the data.
    """
    folders = [Path("data"), cache_directory() / "data"]
    if chosen := os.environ.get("LSLM_DATA"):
        if not Path(chosen).expanduser().is_dir():
            raise ValueError(
                f"LSLM_DATA={chosen} is not a folder; correct it, or unset it to use ./data and "
                "the cache"
            )
        folders.insert(0, Path(chosen).expanduser())
    return folders


def corpus_path(folder: Path, corpus: str, name: str) -> Path:
    """Return the path of a corpus's file in a folder of corpora.

    Raises:
        ValueError: the corpus or the file has a name that could lead out of that folder.
    """
    for part in (corpus, name):
        if not is_inside(part):
            raise ValueError(
                f"corpus {corpus}: {part!r} must be a path inside the folder of corpora, without "
                "a drive, a first / or .. in it;"
                f" for files elsewhere name their `folder` in configs/corpora.yaml"
            )
    return folder / corpus / name


def find_file(corpus: str, name: str) -> Path | None:
    """Return the path of the first copy of a corpus's file or folder, or None.

    Raises:
        ValueError: a name could lead out of the folders of corpora.
    """
    candidates = (corpus_path(folder, corpus, name) for folder in data_directories())
    return next((path for path in candidates if path.exists()), None)
