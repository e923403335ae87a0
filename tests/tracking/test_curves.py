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
