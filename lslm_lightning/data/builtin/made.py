"""Rows that are computed once and kept in the user's cache."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from lslm_lightning.data.locations import cache_directory
from lslm_lightning.data.rows import Row

Splits = Mapping[str, list[Row]]


def made_once(name: str, depends_on: Any, make: Callable[[], Splits]) -> Splits:
    """What `make` gives, from the cache if it was made before from the same `depends_on` (anything JSON knows) by the same code.

    Processes that start together make it once. A cache that cannot be written costs time and nothing else.
    """
    code = [path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    key = hashlib.sha256(json.dumps([depends_on, code]).encode()).hexdigest()[:16]
    path = cache_directory() / "builtin" / f"{name}-{key}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                draft = path.with_suffix(f".{os.getpid()}")
                draft.write_text(json.dumps(make()), "utf-8")
                draft.replace(path)
        return json.loads(path.read_text("utf-8"))
    except OSError:
        return make()


def rows_digest(rows: list[Row]) -> str:
    """SHA-256 of the rows, in hex."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
