"""Whoever stops a command is told how to go on."""

import os
import shlex
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from lslm_lightning import __main__ as program
from lslm_lightning.commands import evaluate, sweep
from lslm_lightning.commands.exit_status import exit_status_of
from lslm_lightning.experiments import training as train
from lslm_lightning.experiments.child_process import follow_parent
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import PARENT, command_line, running_command
from lslm_lightning.experiments.seeds import seeds_suggestion
from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.signals import Interrupted
from tests.support.waiting import PATIENCE


def stop(number=signal.SIGTERM):
    """A stand-in for work that is interrupted."""

    def work(*arguments, **settings):
        raise KeyboardInterrupt if number == signal.SIGINT else Interrupted(number)

    return work


@pytest.fixture
def said(capsys):
    """The last line of standard error after a command is interrupted."""

    def run(*words: str) -> str:
        status = program.run(list(words))
        _, err = capsys.readouterr()
        assert status in (130, 143), err
        assert err.splitlines()[0].startswith("lslm: interrupted")
        assert "Traceback" not in err
        return err.splitlines()[-1]

    return run


WORDS = ("--config", "my file.yaml", "--api_key=Zq7pwx99secret", "it's")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", program.COMMANDS)
def test_every_command_that_is_interrupted_early_says_how_to_begin_again(
    command, number, said, monkeypatch
):
    monkeypatch.setattr(program, "import_module", lambda name: SimpleNamespace(main=stop(number)))
    line = said(command, *WORDS)
    if command in program.ENDLESS:
        assert line.startswith("lslm: interrupted")
    else:
        again = line.removeprefix("To start again: ")
        assert shlex.split(again) == [
            "lslm",
            command,
            "--config",
            "my file.yaml",
            "--api_key=***",
            "it's",
        ]


def test_an_audit_that_is_stopped_continues(said, monkeypatch, tmp_path):
    monkeypatch.setattr("lslm_lightning.commands.named_run.named_run", lambda name: name)
    monkeypatch.setattr("lslm_lightning.experiments.auditing.audit", stop())
    line = said("audit", "runs/mine", "--parts", "bias, canaries", "--fresh")
    assert line == "To continue: lslm audit runs/mine --parts 'bias, canaries'"


@pytest.mark.parametrize("form", ["--config PIPE", "--config=PIPE"])
def test_a_config_through_a_pipe_is_to_come_through_standard_input_again(form, said, monkeypatch):
    monkeypatch.setattr(program, "import_module", lambda name: SimpleNamespace(main=stop()))
    reading, writing = os.pipe()
    os.write(writing, b"model: null")
    os.close(writing)
    words = form.replace("PIPE", f"/dev/fd/{reading}").split()
    try:
        assert said("run", *words) == f"To start again: lslm run {form.replace('PIPE', '-')}"
    finally:
        os.close(reading)


def test_a_command_that_another_one_waits_for_leaves_it_to_that_one(said, monkeypatch):
    monkeypatch.setattr(program, "import_module", lambda name: SimpleNamespace(main=stop()))
    monkeypatch.setenv(PARENT, "1")
    assert said("run").startswith("lslm: interrupted")


def test_without_a_parent_none_is_followed(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    assert not follow_parent()


@pytest.mark.parametrize("inner", ["To continue: lslm resume a", ""])
def test_the_innermost_part_knows_best(inner, capsys):
    def work():
        outer = suggest_command("To continue: outer")
        with suggest_command("To start again: all"), outer, suggest_command(inner):
            raise Interrupted(signal.SIGINT)

    assert exit_status_of(work) == 130
    assert capsys.readouterr().err.splitlines()[1:] == ([inner] if inner else [])


def test_an_error_is_no_interruption(capsys):
    def work():
        with suggest_command("To continue: no"):
            raise ValueError("wrong")

    assert exit_status_of(work) == 1
    assert capsys.readouterr().err == "lslm: wrong\n"


def test_sigterm_is_told_and_then_left_to_whoever_had_it(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with suggest_command("To start again: x"):
            signal.raise_signal(signal.SIGTERM)

    assert exit_status_of(work) == 143
    assert capsys.readouterr().err == "lslm: interrupted by SIGTERM\nTo start again: x\n"
    assert signal.getsignal(signal.SIGTERM) == before


class SignalInDestructor:
    """An object whose destructor is interrupted, where Python drops errors."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_that_python_drops_comes_again(number, status, capsys):
    def work():
        SignalInDestructor(number)
        threading.Event().wait(PATIENCE)
        return 0

    assert exit_status_of(work) == status
    assert capsys.readouterr().err.startswith("lslm: interrupted")


def test_a_preparation_goes_on(said, monkeypatch):
    monkeypatch.setattr("lslm_lightning.experiments.preparation.prepare_texts", stop())
    words = ("data", "prepare", "texts/*.jsonl", "--output", "a b")
    assert shlex.split(said(*words).removeprefix("To continue: ")) == ["lslm", *words]


@pytest.mark.usefixtures("project")
def test_an_evaluation_goes_on_without_asking_anew(said, monkeypatch, capsys):
    Path("e.yaml").write_text("split: test\n")
    found = SimpleNamespace(task_name="translation", identity="1")
    monkeypatch.setattr("lslm_lightning.experiments.evaluation_spec.read", lambda words: found)
    monkeypatch.setattr("lslm_lightning.experiments.evaluating.folder_of", lambda *_: Path())
    monkeypatch.setattr("lslm_lightning.experiments.evaluating.run_evaluation", stop())
    monkeypatch.setattr(evaluate, "answer", stop())
    assert (
        said("evaluate", "--config", "e.yaml", "--fresh", "--split=val")
        == "To continue: lslm evaluate --config e.yaml --split=val"
    )
    assert program.run(["evaluate", "--config", "e.yaml", "--share=0/2"]) == 143
    assert capsys.readouterr().err == "", "the process that started it tells it"


@pytest.mark.usefixtures("project")
def test_a_sweep_goes_on(said, monkeypatch):
    Path("l.yaml").write_text("base: {}\n")
    monkeypatch.setattr(
        "lslm_lightning.experiments.variants.read_sweep",
        lambda path: SimpleNamespace(variants={"a": None}),
    )
    monkeypatch.setattr(
        "lslm_lightning.experiments.sweep.Sweep",
        lambda *arguments: SimpleNamespace(run=stop()),
    )
    assert sweep.DESCRIPTION
    assert (
        said("sweep", "--config", "l.yaml", "--only", "a")
        == "To continue: lslm sweep --config l.yaml --only a"
    )


@pytest.fixture
def run(project) -> RunDirectory:
    """A run directory with a config."""
    found = RunDirectory(project / "runs/translation/my run-1a2b3c4d")
    found.path.mkdir(parents=True)
    found.config.write_text(
        "# lslm run --config x.yaml\nmodel: {class_path: tasks.translation.task.TranslationTask}\n"
    )
    return found


def test_a_resumed_run_goes_on_and_keeps_what_there_is_by_then(said, run, monkeypatch):
    monkeypatch.setattr("lslm_lightning.experiments.resuming.train_on", stop())
    monkeypatch.setattr(
        "lslm_lightning.configuration.allowance.allowance", lambda words, directory: nullcontext()
    )
    line = said("resume", str(run.path), "--no-checkpoint", "--trainer.max_steps", "9")
    assert shlex.split(line) == [
        "To",
        "continue:",
        "lslm",
        "resume",
        str(run.path),
        "--trainer.max_steps",
        "9",
    ]


@pytest.mark.parametrize("command", ["run", "fit", "validate", "test", "predict"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_training_that_has_begun_is_resumed(command, begun, run):
    if not begun:
        run.config.unlink()
    job = SimpleNamespace(seeds=1)
    seeds = SimpleNamespace(seeds=3)
    found = train.resume_suggestion(
        SimpleNamespace(resumed=None, directory=run, arguments=[command], job=job)
    )
    expected = f"To continue: {command_line(['resume', str(run.path)])}"
    assert found == (expected if begun and command in ("run", "fit") else None)
    assert train.resume_suggestion(SimpleNamespace(resumed=None, directory=None)) is None
    assert train.resume_suggestion(SimpleNamespace(resumed=run, directory=run)) is None, (
        "lslm resume tells it"
    )
    parent = SimpleNamespace(resumed=None, directory=run, arguments=[command], job=seeds)
    assert train.resume_suggestion(parent) is None, "which lslm resume refuses"


@pytest.mark.parametrize(
    ("begun", "seed", "steps"),
    [
        (True, 4, ["resume CHILD", "run a --seeds 3 --job.seeds=2 --seed_everything=5"]),
        (
            True,
            5,
            ["resume CHILD", "run a --seeds 3 --job.seeds=1 --seed_everything=6 --data.seed=6"],
        ),
        (True, 6, ["resume CHILD"]),
        (False, 4, ["run a --seeds 3 --job.seeds=3 --seed_everything=4"]),
        (False, 6, ["run a --seeds 3 --job.seeds=1 --seed_everything=6 --data.seed=6"]),
    ],
)
def test_seeds_go_on_with_the_one_under_way_and_then_the_others(begun, seed, steps):
    with running_command(["run", "a", "--seeds", "3"]):
        child = RunDirectory(Path("CHILD")) if begun else None
        line = seeds_suggestion(child, seed, 7, shuffles=True)
    assert line == "To continue: " + " && ".join(f"lslm {step}" for step in steps)
