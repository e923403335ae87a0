"""The mirror of metrics on disk."""

import errno
import json
import threading
from pathlib import Path

import pytest

from lslm_lightning.tracking.curves import MetricLog, Point, read_points


def test_a_point_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curves = MetricLog(path)
    curves.append([Point("val/bleu", 12.5, 7, 1_700_000_000_123)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 7, "time": 1_700_000_000.123, "name": "val/bleu", "value": 12.5}
    ]


def test_what_a_full_disk_does_not_take_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curves = MetricLog(path)
    written = []

    class Full:
        """Takes ten bytes, and no more until there is room."""

        room = False

        def write(self, data: bytes) -> int:
            if not self.room and sum(map(len, written)) >= 10:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(data if self.room else data[:10])
            return len(written[-1])

        def close(self) -> None:
            pass

    curves._file.close()
    curves._file = Full()
    for step in (1, 2):
        with pytest.raises(OSError, match="No space"):
            curves.append([Point("loss", 1.0, step, 0)])
    curves._file.room = True
    curves.append([Point("loss", 1.0, 3, 0)])
    assert [json.loads(line)["step"] for line in b"".join(written).splitlines()] == [1, 2, 3]


def test_two_threads_write_every_point_once(tmp_path: Path) -> None:
    """Training logs, and so does the thread of system metrics."""
    curves = MetricLog(tmp_path / "metrics.jsonl")
    n = 5000

    def log(name: str) -> None:
        for step in range(n):
            curves.append([Point(name, 1.0, step, 0)])

    threads = [threading.Thread(target=log, args=(name,)) for name in ("loss", "system/cpu")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    curves.close()
    assert sorted((p.name, p.step) for p in read_points(tmp_path / "metrics.jsonl")) == [
        (m, i) for m in ("loss", "system/cpu") for i in range(n)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "1",
        "\0" * 40,
        '{"step": 1}',
        '{"step": 1, "time": 1, "name": 5, "value": 1}',
        '{"step": 1, "time": 1, "name": "a", "value": "x"}',
        '{"step": 1e400, "time": 1, "name": "a", "value": 1}',
        '{"step": 1, "time": 1e300, "name": "a", "value": 1}',
        "[" * 100_000,
    ],
)
def test_a_line_that_is_no_point_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "time": 1, "name": "a", "value": NaN}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is damaged"):
        MetricLog(path)
