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
    """`metrics.jsonl`, one `{"step", "time" (Unix seconds), "name", "value"}` a line.

    Opened again, it goes on; a line torn by a kill is cut off, and `last_step` is the last step of each name.
    """

    def __init__(self, path: Path) -> None:
        self.last_step: dict[str, int] = {}
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                row = json.loads(line)
                self.last_step[row["name"]] = max(row["step"], self.last_step.get(row["name"], 0))
        self._file = path.open("ab")
        self._file.truncate(whole)

    def append(self, points: Iterable[Point]) -> None:
        """Written to the file system when this returns: a killed process loses nothing."""
        rows = ({"step": point.step, "time": point.time_ms / 1000, "name": point.name, "value": point.value} for point in points)
        self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        self._file.flush()

    def close(self) -> None:
        self._file.close()
