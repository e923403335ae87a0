"""The comparison of two trees: what counts as a difference, and what does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.trees import TreeError, identity_of, opened
from tests.benchmarks.unchanged import found_differences

ROOT = Path(__file__).parents[1]
POINTS = [
    {"step": 1, "time": 10.5, "name": "train/loss", "value": 5.123456789012345},
    {"step": 1, "time": 10.6, "name": "train/tokens_per_second", "value": 300.0},
    {"step": 1, "time": 10.7, "name": "system/cpu_percent", "value": 99.0},
    {"step": 2, "time": 11.0, "name": "val/bleu", "value": float("nan")},
]
SCORE = {"metric": "bleu", "value": 12.5, "signature": "nrefs:1", "n_example": 2}
PREDICTIONS = [
    {"id": "1", "output": "红", "nats": 0.1 + 0.2, "seconds": 0.5},
    {"id": "2", "output": ""},
]

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run directory, with other values where they are given."""

    def make(name: str, points: Any = POINTS, score: Any = SCORE, rows: Any = PREDICTIONS) -> Path:
        run = tmp_path / name
        (run / "predictions").mkdir(parents=True)
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in points))
        record = {"data": {"digest": "2:ab"}, "scores": [score]}
        (run / "metrics.json").write_text(json.dumps(record))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (run / "predictions/test.jsonl").write_text(text, "utf-8")
        return run

    return make


def changed(rows: list[dict[str, Any]], number: int, **values: Any) -> list[dict[str, Any]]:
    return [row | values if i == number else row for i, row in enumerate(rows)]


def test_times_and_rates_are_no_difference(make_run: MakeRun) -> None:
    points = changed(changed(changed(POINTS, 1, value=1.0), 2, value=2.0), 0, time=99.0)
    other = make_run("after", points=points, rows=changed(PREDICTIONS, 0, seconds=7.25))
    assert list(found_differences(make_run("before"), other)) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"points": changed(POINTS, 0, value=5.123456789012346)}, "train/loss at step 1"),
        ({"points": POINTS[1:]}, "train/loss at step 1"),
        ({"points": changed(POINTS, 3, value=1.0)}, "val/bleu at step 2"),
        ({"score": SCORE | {"value": 12.500000000000002}}, "value of test bleu"),
        ({"score": SCORE | {"signature": "nrefs:2"}}, "signature of test bleu"),
        ({"rows": changed(PREDICTIONS, 0, nats=0.3)}, "test.jsonl, line 1"),
        ({"rows": PREDICTIONS[::-1]}, "test.jsonl, line 1"),
        ({"rows": PREDICTIONS[:1]}, "test.jsonl, line 2"),
    ],
)
def test_a_last_digit_is_a_difference(
    make_run: MakeRun, settings: dict[str, Any], named: str
) -> None:
    first, *_ = found_differences(make_run("before"), make_run("after", **settings))
    assert first.startswith(named)


def test_runs_without_predictions_prove_nothing(make_run: MakeRun) -> None:
    pair = make_run("before", rows=[]), make_run("after", rows=[])
    assert "has no predictions" in next(found_differences(*pair))


@pytest.mark.slow
def test_no_tree_is_imported() -> None:
    code = (
        "import sys, tests.benchmarks.startup, tests.benchmarks.unchanged;"
        "sys.exit(any(name.split('.')[0] in ('lslm_lightning', 'tasks') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_no_tree_is_named() -> None:
    with pytest.raises(TreeError, match="no-such-tree is neither"), opened("no-such-tree", "HEAD"):
        pass


def test_a_change_gives_a_checkout_another_identity(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-m", "one")
    found = {identity_of(tmp_path)}
    (tmp_path / "a.py").write_text("2")
    found.add(identity_of(tmp_path))
    (tmp_path / "b.py").write_text("3")
    found.add(identity_of(tmp_path))
    assert len(found) == 3
