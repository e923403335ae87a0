"""Every metric of a run, on disk: the mirror that reports are drawn from, whatever happens to the server."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a metric. `time_ms` is Unix time; with the other three it makes a point unique in MLflow: sent twice, stored once."""

    name: str
    value: float
    step: int
    time_ms: int


class Curves:
    """`metrics.jsonl`, one `{"step", "time" (Unix seconds), "name", "value"}` a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def append(self, points: Iterable[Point]) -> None:
        """Written to the file system when this returns: a killed process loses nothing."""
        rows = ({"step": point.step, "time": point.time_ms / 1000, "name": point.name, "value": point.value} for point in points)
        self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        self._file.flush()

    def close(self) -> None:
        self._file.close()
