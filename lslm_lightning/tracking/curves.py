"""Local log of every metric value of a run, independent of the MLflow server."""

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a metric. With `time_ms` (Unix time), MLflow stores a point once even if it is
    sent twice.
    """

    name: str
    value: float
    step: int
    time_ms: int


class MetricLog:
    """Append-only log `metrics.jsonl`: one `{"step", "time" (Unix seconds), "name", "value"}` a
    line.

    An incomplete last line, left by a kill, is removed. A point whose name and step are already
    logged is not written again, since a resumed training repeats the steps after its last
    checkpoint exactly. What cannot be written, on a full disk, stays in memory.

    Attributes:
        earlier: points that a resumed run had logged before.
    """

    def __init__(self, path: Path) -> None:
        self.earlier = read_points(path)
        self._known = {(point.name, point.step) for point in self.earlier}
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self._lock = threading.RLock()  # the thread of system metrics logs too
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def append(self, points: Iterable[Point]) -> list[Point]:
        """Write those points that are not logged yet, and return them; they are in the file system
        (a killed process loses nothing) when this returns.

        Raises:
            OSError: they could not all be written, and stay in memory until the next `flush`.
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
        """Write all points that are still in memory.

        Raises:
            OSError: not all could be written; the rest stays in memory.
        """
        with self._lock:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]

    def synchronize(self) -> None:
        """Write all points to the file and wait until they are on the disk.

        Raises:
            OSError: as `flush`.
        """
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with self._lock:
            with suppress(OSError):  # it was reported
                self.flush()
            self._file.close()


def read_points(path: Path) -> list[Point]:
    """Return the points of all complete lines of `metrics.jsonl`; empty if there is no such file.

    Raises:
        ValueError: a line, which the message names, is not a point.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [point_of(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def point_of(line: bytes, name: str) -> Point:
    """Parse one line of `metrics.jsonl`; the ValueError for an invalid one names the line as
    `name`.
    """
    try:
        row = json.loads(line)
        step = row["step"]
        value = float(row["value"])
        time_ms = round(row["time"] * 1000)
        if isinstance(row["name"], str) and type(step) is int and abs(step) < 2**63 > abs(time_ms):
            return Point(row["name"], value, step, time_ms)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    raise ValueError(f"{name} is damaged: it is not a metric point; correct it, or delete the line")
