"""Local log of all metric values of a run, independent of the MLflow server."""

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a metric at a training step.

    MLflow stores two points with the same name, step and `time_ms` (Unix time in milliseconds) only
    once, so a point may be sent twice.
    """

    name: str
    value: float
    step: int
    time_ms: int


class MetricLog:
    """Append-only log `metrics.jsonl` with one `{"step", "time" (Unix seconds), "name", "value"}`
    per line.

    An incomplete last line, left by a killed process, is removed. A resumed training repeats the
    steps after its last checkpoint exactly, so a point whose name and step are already in the log
    is not written again. Points that cannot be written, as on a full disk, stay in memory.

    Attributes:
        earlier: points that were in the log before a run was resumed.
    """

    def __init__(self, path: Path) -> None:
        self.earlier = read_points(path)
        self._known = {(point.name, point.step) for point in self.earlier}
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self._lock = threading.RLock()  # the thread of system metrics logs too
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)

    def append(self, points: Iterable[Point]) -> list[Point]:
        """Write those points that are not in the log yet, and return them.

        When the method returns, they are in the file system and survive the end of this process.

        Raises:
            OSError: not all points could be written; the rest stays in memory until the next
                `flush`.
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
            OSError: not all points could be written; the rest stays in memory.
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
        ValueError: a line is not a point; the message names the line.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [point_of(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def point_of(line: bytes, name: str) -> Point:
    """Return the point in one line of `metrics.jsonl`.

    Args:
        name: name of the line, for the message.

    Raises:
        ValueError: the line is not a point.
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
