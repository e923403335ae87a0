"""The mirror of metrics on disk."""

import json
from pathlib import Path

from lslm_lightning.tracking.curves import Curves, Point


def test_a_point_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curves = Curves(path)
    curves.append([Point("val/bleu", 12.5, 7, 1_700_000_000_123)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 7, "time": 1_700_000_000.123, "name": "val/bleu", "value": 12.5}
    ]


def test_a_torn_line_is_cut_off_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Curves(path)
    first.append([Point("a", 1.0, step, 0) for step in (1, 5)] + [Point("b", 1.0, 3, 0)])
    first.close()
    with path.open("a") as file:
        file.write('{"step": 9, "ti')
    again = Curves(path)
    assert again.last_step == {"a": 5, "b": 3}
    again.append([Point("a", 2.0, 6, 0)])
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 5, 3, 6]
