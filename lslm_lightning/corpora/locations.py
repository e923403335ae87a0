"""Folders on this machine that hold corpora and files derived from them."""

import os
from pathlib import Path

from lslm_lightning.safety.paths import is_inside


def cache_directory() -> Path:
    """Return the user's cache folder, which may not exist yet.

    It is `$LSLM_CACHE` if set, else `lslm-lightning` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    if chosen := os.environ.get("LSLM_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lslm-lightning"


def data_directories() -> list[Path]:
    """Return the folders that are searched for `<corpus>/<file>`, in order.

    Raises:
        ValueError: `$LSLM_DATA` is set but is not a folder. A misspelt path must not silently
            select another copy of the data.
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
    """Return the path of a corpus file within a folder of corpora.

    Args:
        folder: the folder of corpora.
        corpus: folder of the corpus, relative to `folder`.
        name: name of the file, relative to the folder of the corpus.

    Raises:
        ValueError: `corpus` or `name` could refer to a path outside `folder`.
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
    """Return the path of the first copy of a corpus file or folder in `data_directories()`, or
    None.

    Raises:
        ValueError: `corpus` or `name` could refer to a path outside those folders.
    """
    candidates = (corpus_path(folder, corpus, name) for folder in data_directories())
    return next((path for path in candidates if path.exists()), None)
