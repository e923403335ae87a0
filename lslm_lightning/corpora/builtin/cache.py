"""Cache for the rows of built-in corpora, in the user's cache folder."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from filelock import FileLock

from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.corpora.rows import Row
from lslm_lightning.files import atomic_write
from lslm_lightning.types import Json

Splits = Mapping[str, list[Row]]


def load_or_make(name: str, depends_on: Json, make: Callable[[], Splits]) -> Splits:
    """Return the rows of `make()`, from the cache if they were computed before.

    A cached result is used if `depends_on` and the code of this package are unchanged. If several
    processes call this at once, only one computes. If the cache cannot be written, the rows are
    computed each time.

    Args:
        name: name of the corpus, used in the file name.
        depends_on: versions and settings that determine the rows.
        make: computes rows by split.
    """
    code = [path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    key = hashlib.sha256(json.dumps([depends_on, code]).encode()).hexdigest()[:16]
    path = cache_directory() / "builtin" / f"{name}-{key}.json"
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        return make()
    try:
        with suppress(OSError, ValueError, RecursionError):  # none, or a damaged one
            if are_splits(kept := json.loads(path.read_text("utf-8"))):
                return kept
        splits = make()
        with suppress(OSError):
            atomic_write(path, json.dumps(splits, ensure_ascii=False))
        return splits
    finally:
        lock.release()


def are_splits(value: Json) -> TypeGuard[Splits]:
    """Return whether a JSON value is a non-empty mapping from split names to lists of rows."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(rows, list) for rows in value.values())
        and all(isinstance(row, dict) for rows in value.values() for row in rows)
    )


def rows_digest(rows: list[Row]) -> str:
    """Return the SHA-256 of the rows, in hex."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
