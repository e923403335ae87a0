"""Several seeds: child runs of one parent, real processes, and what their scores come to."""

import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from unittest.mock import Mock

import pytest
import torch
import yaml

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.scoring import write_scores
from lslm_lightning.experiments import seeds
from lslm_lightning.experiments.invocation import running_command
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Tracker
from tests.commands.conftest import refused, wait_until
from tests.commands.test_train import runs
from tests.support.waiting import PATIENCE


@pytest.mark.slow
def test_seeds_are_children_of_one_parent(translation, lslm, origin, project, monkeypatch):
    """Its processes are forked, which saves their imports."""

    def run_to_its_end(command, environment=None):
        process = origin.fork(command[3:], environment or dict(os.environ), project)
        process.communicate(timeout=PATIENCE)
        return process.returncode

    monkeypatch.setattr(seeds, "run_to_its_end", run_to_its_end)
    outcome = lslm("run", "--config", translation, "--seeds", 2, "--trainer.max_steps", 2)
    assert outcome.status == 0, outcome
    found = runs()
    [parent] = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(c.data.tags["seed"] for c in children) == ["0", "1"]
    assert {r.info.status for r in found} == {"FINISHED"}
    mean = sum(c.data.metrics["test/chrf"] for c in children) / 2
    assert parent.data.metrics["test/chrf"] == pytest.approx(mean, abs=1e-6)
    sentence = next(line for line in outcome.out.splitlines() if " over 2 seeds (" in line)
    assert f"**{sentence}**" in parent.data.tags["mlflow.note.content"]

    configs = [
        yaml.safe_load(path.read_text())
        for path in Path("runs/translation").glob("*-seed-*/config.yaml")
    ]
    assert sorted((c["seed_everything"], c["data"]["init_args"]["seed"]) for c in configs) == [
        (0, 0),
        (1, 1),
    ]


@pytest.mark.slow
def test_a_stopped_parent_lets_its_child_save_and_tells_the_truth_of_both(translation, start):
    endless = ("--trainer.max_steps", 1000000, "--trainer.val_check_interval", 5)
    process = start("-m", "lslm_lightning", "run", "--config", translation, "--seeds", 3, *endless)
    wait_until(lambda: bool(list(Path("runs").glob("*/*-seed-0-*/checkpoints/last.ckpt"))), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert [r.info.status for r in runs()] == ["KILLED", "KILLED"], (
        "the parent, its first child, and no second child"
    )
    assert "Traceback" not in output
    [last] = Path("runs").glob("*/*-seed-0-*/checkpoints/last.ckpt")
    step = torch.load(last, weights_only=True)["global_step"]
    assert f"interrupted by SIGINT at step {step}" in output, (
        "one signal saves, a second one would stop at once"
    )
    [line] = [each for each in output.splitlines() if each.startswith("To ")]
    resume, others = line.removeprefix("To continue: ").split(" && ")
    assert shlex.split(resume) == ["lslm", "resume", str(last.parents[1])]
    given = [
        "run",
        "--config",
        translation,
        "--seeds",
        3,
        *endless,
        "--job.seeds=2",
        "--seed_everything=1",
    ]
    assert shlex.split(others) == ["lslm", *map(str, given)]


COUNT = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
print("ready", flush=True)
end = time.monotonic() + 600
while not got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
print("got", *got, flush=True)
sys.exit(9)
"""

PARENT = """
import sys
from lslm_lightning.experiments.child_process import run_to_its_end
print("ended", run_to_its_end([sys.executable, "-c", sys.argv[1]]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_to_the_whole_group_reaches_the_child_once(environment, project, number):
    """Ctrl-C in a terminal does so."""
    command = [sys.executable, "-c", PARENT, COUNT]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert output == f"got {int(number)}\n"
    assert process.returncode == -number, errors


FOLLOWER = (
    f"from lslm_lightning.experiments.child_process import follow_parent\nfollow_parent()\n{COUNT}"
)


@pytest.mark.slow
def test_a_child_stops_when_its_parent_was_killed(environment):
    """The hard way, of which the parent could tell nobody."""
    command = [sys.executable, "-c", PARENT, FOLLOWER]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert process.stdout.read() == f"got {int(signal.SIGTERM)}\n"


@pytest.mark.slow
def test_what_a_child_ends_with_is_told(environment):
    done = subprocess.run(
        [sys.executable, "-c", PARENT, "raise SystemExit(7)"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "ended 7\n"


DEMO = """
import sys
from lslm_lightning.commands import demo
from lslm_lightning.experiments.child_process import run_to_its_end
demo.CONFIGS = sys.argv[2:]
demo.run_to_its_end = lambda command: run_to_its_end([sys.executable, "-c", sys.argv[1]])
demo.main(["demo"])
"""


@pytest.mark.slow
def test_the_demo_stops_with_its_child(translation, environment):
    """The child, which takes the place of a training, is told once, and the next one is not
    begun.
    """
    command = [sys.executable, "-c", DEMO, COUNT, translation, translation]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    while "ready\n" not in said:
        said.append(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM, rest
    assert f"got {int(signal.SIGTERM)}\n" in rest
    assert "ready" not in rest


@pytest.fixture
def children(project, monkeypatch):
    """`run_seeds` with children that leave the scores they are told to and 7 steps; it gives the
    words of each and the parent's summary.
    """

    def run(
        *values: dict[str, float] | None,
        words: str = "run --config tiny.yaml",
        digests: dict = MappingProxyType({}),
    ):
        parent = RunDirectory(Path("runs/toy/tiny-1a2b"))
        parent.path.mkdir(parents=True)
        parent.config.write_text(
            "model: {class_path: a.B}\ndata: {init_args: {}}\ntrainer: {max_steps: -1}\n"
        )
        told = []

        def train(command, environment):
            given = values[len(told)]
            seed = len(told)
            told.append(command[3:])
            if given is None:
                return 1
            [name] = [
                word.removeprefix("--job.name=")
                for word in command
                if word.startswith("--job.name=")
            ]
            child = RunDirectory(parent.path.with_name(f"{name}-{seed}"))
            child.path.mkdir()
            child.config.write_text("model: {class_path: a.B}\ntrainer: {max_steps: 7}\n")
            data = {
                "corpus": "toy",
                "split": "test",
                "digest": digests.get(seed, "2:0123456789abcdef0123"),
            }
            write_scores(
                child.metrics,
                [Score(metric, value, "", True, "", 1) for metric, value in given.items()],
                data,
            )
            return 0

        monkeypatch.setattr(seeds, "run_to_its_end", train)
        tracker = Mock(Tracker, version="abc", page="#/runs/abc", directory=parent.path)
        try:
            with running_command(words.split()):
                seeds.run_seeds(len(values), 0, parent, tracker)
        finally:
            summary = json.loads(parent.metrics.read_text())["summary"]
        return told, summary

    return run


def test_scores_without_a_value_leave_the_others(children):
    first = {"bleu": 10.0, "chrf": 20.0, "perplexity": math.nan, "ter": math.nan}
    second = {"bleu": 14.0, "chrf": math.inf, "perplexity": math.inf, "ter": -math.inf}
    _, summary = children(first, second)
    assert summary["bleu"] == {
        "mean": 12.0,
        "deviation": statistics.stdev([10, 14]),
        "values": {"0": 10.0, "1": 14.0},
    }
    assert summary["chrf"] == {"mean": 20.0, "deviation": None, "values": {"0": 20.0}}
    assert summary.keys() == {"bleu", "chrf"}


def test_a_budget_in_minutes_is_measured_once(children):
    given = "run --config tiny.yaml --job.minutes 5 --debug"
    first, second, third = children({"bleu": 1.0}, {"bleu": 2.0}, {"bleu": 3.0}, words=given)[0]
    assert not any(word.startswith("--trainer.max_steps") for word in first)
    for words in (second, third):
        assert {"--trainer.max_steps=7", "--job.minutes=null"} <= set(words[words.index("5") :]), (
            "behind what was given, so that it counts"
        )
    assert all("--debug" in words for words in (first, second, third))


def test_where_the_children_are_is_told_even_if_one_failed(children, capsys):
    with pytest.raises(RuntimeError, match=r"seeds \[1\] failed"):
        children({"bleu": 1.0}, None, {"bleu": 3.0})
    said = capsys.readouterr().out
    assert "seed 0 is runs/toy/tiny-1a2b-seed-0-0\n" in said
    assert "seed 2 is runs/toy/tiny-1a2b-seed-2-2\n" in said
    assert "seed 1 is" not in said
    assert said.count("test split of toy: digest 2:0123456789ab\n") == 1


def test_a_seed_that_was_tested_on_other_data_is_no_part_of_the_mean(children):
    """The corpus changed between two trainings."""
    with pytest.raises(RuntimeError, match=r"seeds \[1\] were tested on other data than seed 0"):
        children({"bleu": 1.0}, {"bleu": 99.0}, {"bleu": 3.0}, digests={1: "2:ffff"})
    summary = json.loads(Path("runs/toy/tiny-1a2b/metrics.json").read_text())["summary"]
    assert summary["bleu"]["values"] == {"0": 1.0, "2": 3.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--seed_everything=-3"], "seed_everything=-3 must be between 0 and"),
        ([f"--seed_everything={2**32}"], f"seed_everything={2**32} must be between 0 and"),
        (
            ["--seeds=2", "--ckpt_path=last.ckpt"],
            "job.seeds=2 with ckpt_path: a checkpoint is of one seed",
        ),
    ],
)
def test_seeds_that_cannot_be_are_refused_by_name(given, words, lslm, translation):
    Path("last.ckpt").touch()
    refused(lslm("run", "--config", translation, *given), 1, words)
