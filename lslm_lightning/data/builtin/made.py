"""Rows that are computed once and kept in the user's cache."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from lslm_lightning.data.locations import cache_directory
from lslm_lightning.data.rows import Row
from lslm_lightning.files import atomic_write

Splits = Mapping[str, list[Row]]


def made_once(name: str, depends_on: Any, make: Callable[[], Splits]) -> Splits:
    """What `make` gives, from the cache if it was made before from the same `depends_on` (anything
    JSON knows) by the same code.

    Processes that start together make it once. A cache that cannot be written costs time and
    nothing else.
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
        _keep(path, json.dumps(splits, ensure_ascii=False))
        return splits
    finally:
        lock.release()


def are_splits(value: Any) -> bool:
    """Whether it maps names to lists of rows."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(rows, list) for rows in value.values())
        and all(isinstance(row, dict) for rows in value.values() for row in rows)
    )


def _keep(path: Path, text: str) -> None:
    with suppress(OSError):
        atomic_write(path, text)


def rows_digest(rows: list[Row]) -> str:
    """SHA-256 of the rows, in hex."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
