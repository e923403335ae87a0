"""Several seeds: child runs of one parent, real processes, and what their scores come to."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from lslm_lightning.commands.seeds import read_scores, summarize
from tests.commands.test_train import runs

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(environment: dict[str, str], project: Path) -> Iterator[Start]:
    """Start a Python command in a process of its own."""
    started = []

    def begin(*arguments: object) -> subprocess.Popen:
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_seeds_are_children_of_one_parent(translation, start):
    process = start("-m", "lslm_lightning", "run", "--config", translation, "--seeds", 2, "--trainer.max_steps", 2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    found = runs()
    [parent] = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(c.data.tags["seed"] for c in children) == ["0", "1"]
    assert {r.info.status for r in found} == {"FINISHED"}
    mean = sum(c.data.metrics["test/chrf"] for c in children) / 2
    assert parent.data.metrics["test/chrf"] == pytest.approx(mean, abs=1e-6)

    configs = [yaml.safe_load(path.read_text()) for path in Path("runs/translation").glob("*-seed-*/config.yaml")]
    assert sorted((c["seed_everything"], c["data"]["init_args"]["seed"]) for c in configs) == [(0, 0), (1, 1)]


def test_a_stopped_parent_lets_its_child_save_and_tells_the_truth_of_both(translation, start):
    endless = ("--trainer.max_steps", 1000000, "--trainer.val_check_interval", 5)
    process = start("-m", "lslm_lightning", "run", "--config", translation, "--seeds", 3, *endless)
    wait_until(lambda: bool(list(Path("runs").glob("*/*-seed-0-*/checkpoints/last.ckpt"))), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert [r.info.status for r in runs()] == ["KILLED", "KILLED"], "the parent, its first child, and no second child"
    assert "Traceback" not in output
    [last] = Path("runs").glob("*/*-seed-0-*/checkpoints/last.ckpt")
    step = torch.load(last, weights_only=True)["global_step"]
    assert f"interrupted by SIGINT at step {step}" in output, "one signal saves, a second one would stop at once"


COUNT = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
print("ready", flush=True)
end = time.monotonic() + 60
while not got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
print("got", *got, flush=True)
sys.exit(9)
"""

PARENT = """
import sys
from lslm_lightning.commands.process import run_to_its_end
print("ended", run_to_its_end([sys.executable, "-c", sys.argv[1]]), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_to_the_whole_group_reaches_the_child_once(environment, project, number):
    """As Ctrl-C in a terminal does."""
    command = [sys.executable, "-c", PARENT, COUNT]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert output == f"got {int(number)}\n"
    assert process.returncode == -number, errors


def test_what_a_child_ends_with_is_told(environment):
    done = subprocess.run(
        [sys.executable, "-c", PARENT, "raise SystemExit(7)"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "ended 7\n"


DEMO = """
import sys
from lslm_lightning.commands import demo
demo.CONFIGS = sys.argv[1:]
demo.main(["demo"])
"""


def test_the_demo_stops_with_its_child(translation, start):
    config = yaml.safe_load(translation.read_text())
    translation.write_text(yaml.safe_dump(config | {"trainer": config["trainer"] | {"max_steps": 1000000}}))
    process = start("-c", DEMO, translation, translation)
    wait_until(lambda: bool(list(Path("runs").glob("*/*/checkpoints/last.ckpt"))), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, output
    assert [r.info.status for r in runs()] == ["KILLED"], "and the next one was not begun"


def test_scores_without_a_value_leave_the_others(tmp_path):
    first = {"bleu": 10.0, "chrf": 20.0, "perplexity": float("nan"), "ter": None}
    second = {"bleu": 14.0, "chrf": float("inf"), "perplexity": None, "ter": None}
    scores = {}
    for seed, values in enumerate((first, second)):
        path = tmp_path / f"{seed}.json"
        path.write_text(json.dumps({"scores": [{"metric": name, "value": value} for name, value in values.items()]}))
        scores[seed] = read_scores(path)
    summary = summarize(scores)
    assert summary["bleu"] == {"mean": 12.0, "deviation": statistics.stdev([10, 14]), "values": {0: 10.0, 1: 14.0}}
    assert summary["chrf"] == {"mean": 20.0, "deviation": None, "values": {0: 20.0}}
    assert summary.keys() == {"bleu", "chrf"}
