"""Every metric point of a run in a file, whatever happens to the server."""

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a metric. `time_ms` is Unix time; with the other three it makes a point unique
    in MLflow: sent twice, stored once.
    """

    name: str
    value: float
    step: int
    time_ms: int


class MetricLog:
    """`metrics.jsonl`, one `{"step", "time" (Unix seconds), "name", "value"}` a line.

    A run that goes on finds in `earlier` what it had logged before it stopped; a line that was torn
    by a kill is cut off. A point of a name and step that are there already is not written again:
    training repeats exactly what came after its last checkpoint. What cannot be written, on a full
    disk, waits in memory.
    """

    def __init__(self, path: Path) -> None:
        self.earlier = read_points(path)
        self._known = {(point.name, point.step) for point in self.earlier}
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self._lock = threading.RLock()  # training logs, and so does the thread of system metrics
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def append(self, points: Iterable[Point]) -> list[Point]:
        """Those of the points that are new; written to the file system when this returns, so that a
        killed process loses nothing.

        Raises:
            OSError: they wait, as `flush` says.
        """
        new = [point for point in points if (point.name, point.step) not in self._known]
        rows = (
            {
                "step": point.step,
                "time": point.time_ms / 1000,
                "name": point.name,
                "value": point.value,
            }
            for point in new
        )
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        with self._lock:
            self._waiting += text
            self.flush()
        return new

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: not all of it could be written; the rest waits.
        """
        with self._lock:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]

    def synchronize(self) -> None:
        """All of it is on the disk when this returns.

        Raises:
            OSError: as `flush`.
        """
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with self._lock:
            with suppress(OSError):  # it was told
                self.flush()
            self._file.close()


def read_points(path: Path) -> list[Point]:
    """All whole lines of `metrics.jsonl`; none where there is no such file.

    Raises:
        ValueError: naming a line that is no point.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [point_of(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def point_of(line: bytes, name: str) -> Point:
    """Return the point of a line; ValueError with the name of the line where it has none."""
    try:
        row = json.loads(line)
        step = row["step"]
        value = float(row["value"])
        time_ms = round(row["time"] * 1000)
        if isinstance(row["name"], str) and type(step) is int and abs(step) < 2**63 > abs(time_ms):
            return Point(row["name"], value, step, time_ms)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    raise ValueError(
        f"{name} is damaged: it is no point of a metric; correct it, or delete the line"
    )
