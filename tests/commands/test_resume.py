"""`lslm resume`: after every kind of death the run ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock
from lightning.pytorch import Callback
from mlflow import MlflowClient

from lslm_lightning.commands.verify_resume import DECIDED, given_settings
from lslm_lightning.experiments.resume_proof import Trial, differences
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.own_runs import register_run
from lslm_lightning.tracking import Tracker
from lslm_lightning.tracking.moved_store import repoint
from lslm_lightning.tracking.names import mlflow_name
from tests.commands.compared_runs import STEPS, config_of, only, points, same_run
from tests.commands.conftest import refused, wait_until
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

TWO = ("--trainer.devices", 2, "--trainer.strategy", "ddp")


@pytest.fixture
def config(translation):
    """`kind` -> a config; see `config_of`."""
    return partial(config_of, tiny=translation)


class KillAt(Callback):
    """Sends this process SIGKILL at the moment that the file `kill` names, once."""

    def _strike_if(self, trainer, moment):
        file = Path("kill")
        asked = json.loads(file.read_text()) if file.exists() else {"delay": 0}
        delay = asked.pop("delay")
        if asked == {"moment": moment, "step": trainer.global_step, "rank": trainer.global_rank}:
            file.unlink()
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def on_train_batch_start(self, trainer, *args):
        self._strike_if(trainer, "step")

    def on_validation_batch_start(self, trainer, *args):
        self._strike_if(trainer, "validation")

    def on_save_checkpoint(self, trainer, *args):
        self._strike_if(trainer, "save")


@pytest.mark.distributed
@pytest.mark.parametrize(("kind", "n"), [("windows", 1), ("stream", 2)])
def test_a_killed_run_ends_as_if_nothing_had_happened(kind, n, start, together, config):
    """Killed the hard way at seeded moments: in a step, in a validation, while a state is written;
    resumed each time.

    `make bench-faults` does so with all kinds of data, at moments that nobody chose.
    """
    path = config(kind)
    chance = random.Random(f"{kind}{n}")

    def begin(*words):
        return [start("-m", "lslm_lightning", *words)] if n == 1 else together(*words)

    for process in begin("run", "--config", path, "--job.name=straight"):
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
    straight = only("straight-*")
    words = [
        "run",
        "--config",
        path,
        "--job.name=killed",
        "--trainer.callbacks+=tests.commands.test_resume.KillAt",
    ]
    for moment, later in zip(chance.sample(["step", "validation", "save"], 4 - n), (0, 12, 18)):
        step = (
            later
            + {"step": chance.randint(4, 8), "validation": 6, "save": chance.choice([6, 9])}[moment]
        )
        rank = 0 if moment == "save" else chance.randrange(n)  # which writes
        Path("kill").write_text(
            json.dumps(
                {"moment": moment, "step": step, "rank": rank, "delay": 0.005 * chance.random()}
            )
        )
        processes = begin(*words)
        for process in processes:
            process.communicate(timeout=PATIENCE)  # the other one notices
        assert processes[rank].returncode == -signal.SIGKILL, (moment, step)
        words = ["resume", only("killed-*")]
    said = ""
    for process in begin(*words):
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        said += output
    assert "resuming" in said
    same_run(straight, only("killed-*"))


def halves(lslm, path, name):
    """A run that was told to stop half-way: SIGUSR1, as SLURM sends it before it takes the machine
    away.
    """
    outcome = lslm(
        "run",
        "--config",
        path,
        f"--job.name={name}",
        "--trainer.callbacks+=tests.commands.test_resume.StopAt",
    )
    assert outcome.status == 128 + signal.SIGUSR1, outcome.err
    return only(f"{name}-*")


class StopAt(Callback):
    """Sends this process SIGUSR1 in step 16, once."""

    done = False

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == 15 and not StopAt.done:
            StopAt.done = True
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder for what is trained once and copied for each test."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def stopped(lslm, config, project, kept):
    """An undisturbed run, and one that was stopped at step 16."""
    path = config("pairs")
    whole = kept / "whole"
    if not whole.exists():
        StopAt.done = True
        assert lslm("run", "--config", path, "--job.name=straight").status == 0
        StopAt.done = False
        halves(lslm, path, "stopped")
        shutil.copytree(project / "runs", kept / "runs")
        shutil.copy(project / "mlflow.db", kept)
        whole.write_text(str(project))
    else:
        shutil.copytree(kept / "runs", project / "runs")
        shutil.copy(kept / "mlflow.db", project)
        for name in ("config.yaml", "mlflow.json"):
            for file in (project / "runs").glob(f"*/*/{name}"):
                file.write_text(file.read_text("utf-8").replace(whole.read_text(), str(project)))
        for config in (project / "runs").glob("*/*/config.yaml"):
            register_run(config)  # which was started here, as far as the test is concerned
        repoint(project / "mlflow.db", project / "mlartifacts")  # and so was its store
        with sqlite3.connect(project / "mlflow.db") as store:
            store.execute(
                "UPDATE tags SET value = replace(value, ?, ?)", (whole.read_text(), str(project))
            )
    return only("straight-*"), only("stopped-*")


@pytest.mark.parametrize("harm", ["none", "cut off", "one bit", "not yet renamed", "no states"])
def test_a_damaged_state_is_passed_over_for_the_one_before(harm, lslm, stopped):
    straight, run = stopped
    last = run / "checkpoints/last.ckpt"
    words = ""
    content = bytearray(last.read_bytes())
    if harm == "cut off":
        last.unlink()  # best.ckpt may be a name of the same file
        last.write_bytes(content[: len(content) // 2])
        words = "last.ckpt is damaged: it is truncated"
    elif harm == "one bit":
        content[len(content) // 2] ^= 4
        last.unlink()
        last.write_bytes(content)
        words = "last.ckpt is damaged: the checksum of its part"
    elif harm == "not yet renamed":
        (run / "checkpoints/.last.ckpt.part").write_bytes(content[:1000])
    elif harm == "no states":
        shutil.rmtree(run / "checkpoints")
    outcome = lslm("resume", run)
    assert outcome.status == 0, outcome.err
    assert words in outcome.err
    assert ("from step " in outcome.out) == (harm != "no states")
    same_run(straight, run)
    again = lslm("resume", run)
    assert again.status == 0
    assert "is finished" in again.out


def test_the_weights_are_read_once(lslm, stopped, monkeypatch):
    """Their shapes may be looked at before."""
    _, run = stopped
    read = []

    def load(file, map_location=None, load=torch.load, **settings):
        if map_location != "meta":
            read.append(Path(file).name)
        return load(file, map_location=map_location, **settings)

    monkeypatch.setattr(torch, "load", load)
    own = ["--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/last.ckpt"]
    assert lslm("validate", *own).status == 0
    assert read == ["last.ckpt"]
    read.clear()
    assert lslm("resume", run).status == 0
    assert read.count("last.ckpt") == 1


def test_all_states_damaged_is_one_line_and_nothing_is_lost(lslm, stopped):
    _, run = stopped
    for path in (run / "checkpoints").glob("last*.ckpt"):
        path.unlink()
        path.write_bytes(b"PK nothing")
    kept = {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    refused(lslm("resume", run), 1, "last.ckpt is damaged", "no intact checkpoint before it")
    assert kept == {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--data.max_tokens", 120], ["batches (max_tokens 200", "max_tokens 120"]),
        (["--data.seed", 5], ["batches", "seed 0", "seed 5"]),
        (
            ["--trainer.accumulate_grad_batches", 3],
            ["trainer.accumulate_grad_batches (2 then, 3 now)"],
        ),
        (None, ["training data ("]),
    ],
)
def test_what_decides_the_batches_must_be_as_it_was(change, words, lslm, stopped, pairs):
    _, run = stopped
    if change is None:
        path = pairs / "train.en"
        path.write_text(path.read_text("utf-8").replace("red", "rot"), "utf-8")
    before = (run / "checkpoints/last.ckpt").read_bytes()
    outcome = lslm("resume", run, *(change or []))
    refused(outcome, 1, *words)
    assert not change or change[0] not in outcome.out, "what is refused has no effect to tell of"
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    if change is not None:
        assert lslm("resume", run).status == 0, "a refusal leaves the run as it was"


def test_changed_settings_of_the_optimizer_are_applied_and_written_down(lslm, stopped):
    _, run = stopped
    words = [
        "--model.optimizer.lr=0.02",
        "--model.optimizer.weight_decay=0.3",
        "--model.schedule=Constant",
        "--model.schedule.warmup_steps=0",
    ]
    outcome = lslm("resume", run, *words)
    assert outcome.status == 0, outcome.err
    assert (
        "model.optimizer, from step 16 on: lr from 0.001 to 0.02, weight_decay from 0.01 to 0.3"
        in outcome.out
    )
    assert {rate for step, rate in points(run)["train/learning_rate"] if step > 16} == {0.02}
    matrices, vectors = torch.load(run / "checkpoints/last.ckpt", weights_only=True)[
        "optimizer_states"
    ][0]["param_groups"]
    assert [matrices["weight_decay"], vectors["weight_decay"]] == [0.3, 0.0]
    settings = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["optimizer"][
        "init_args"
    ]
    assert (settings["lr"], settings["weight_decay"]) == (0.02, 0.3)


def files_of(run: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


class FailsAtOnce(Callback):
    """Ends a training in its first step, as too little memory would."""

    def on_train_batch_start(self, trainer, *args):
        raise ValueError("no memory")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"],
            "model.optimizer=SGD cannot resume",
        ),
        (["--model.optimizer.amsgrad=true"], "amsgrad from False to True cannot change"),
        (["--trainer.max_steps=3"], "trainer.max_steps=3, but"),
        (["--trainer.limit_train_batches=2"], "trainer.limit_train_batches (1.0 then, 2 now)"),
        (["--job.minutes=5"], "job.minutes=5 changes nothing: this run trains trainer.max_steps="),
        (
            ["--job.name=other"],
            "job.name=other changes nothing in a run that was started with stopped",
        ),
        (["--job.root=elsewhere"], "move the directory"),
        (["--job.seeds=2"], "lslm run --seeds for several"),
        (
            ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"],
            "job.average",
        ),
    ],
)
def test_a_refused_resume_leaves_the_run_as_it_was(change, words, lslm, stopped):
    _, run = stopped
    before = files_of(run)
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    status = client.get_run(run_id).info.status
    refused(lslm("resume", run, *change), 1, words)
    assert files_of(run) == before
    assert client.get_run(run_id).info.status == status == "KILLED"


COMPUTES = [  # (settings that leave the shapes of all weights, name, before, now)
    (["--model.backbone.n_head=4"], "model.backbone.n_head", "2", "4"),
    (["--model.backbone.norm_first=false"], "model.backbone.norm_first", "True", "False"),
    (["--model.scale_embedding=false"], "model.scale_embedding", "True", "False"),
    (
        ["--model.backbone.feed_forward=lslm_lightning.models.feed_forward.ReLU"],
        *("model.backbone.feed_forward", "lslm_lightning.models.feed_forward.GELU"),
        "lslm_lightning.models.feed_forward.ReLU",
    ),
    (
        ["--model.backbone.position=ALiBi"],
        *("model.backbone.position", "lslm_lightning.models.positions.Rotary"),
        "lslm_lightning.models.positions.ALiBi",
    ),
    (["--model.backbone.position.base=500"], "model.backbone.position.base", "10000.0", "500.0"),
    (["--model.backbone.norm.eps=0.5"], "model.backbone.norm.eps", "1e-05", "0.5"),
    (["--model.head.blocked_ids=[7]"], "model.head.blocked_ids", "[]", "[7]"),
]


@pytest.mark.parametrize("road", ["resume", "fit", "test"])
@pytest.mark.parametrize(("change", "name", "before", "now"), COMPUTES)
def test_weights_are_not_read_into_another_function(road, change, name, before, now, lslm, stopped):
    """The weights would fit: without the check, the run trains on as another network."""
    _, run = stopped
    files = files_of(run)
    others = [*Path("runs").glob("*/*")]
    last = run / "checkpoints/last.ckpt"
    given = (
        ["resume", run]
        if road == "resume"
        else [road, "--config", run / "config.yaml", "--ckpt_path", last]
    )
    refused(lslm(*given, *change), 1, f"{name} ({before} then, {now} now)")
    assert files_of(run) == files
    assert [*Path("runs").glob("*/*")] == others, "no other run was made"


def test_settings_that_leave_the_function_may_change(lslm, stopped):
    """Each takes effect: gradients of no length leave the means of earlier ones to decay."""
    _, run = stopped
    change = [
        "--model.backbone.dropout=0",
        "--model.label_smoothing=0.2",
        "--model.search.beam_size=2",
        "--model.max_length=15",
        "--model.schedule=Constant",
        "--model.schedule.warmup_steps=0",
        "--trainer.gradient_clip_val=1e-30",
    ]
    before = moments(run)
    outcome = lslm("resume", run, *change)
    assert outcome.status == 0, outcome.err
    assert {rate for step, rate in points(run)["train/learning_rate"] if step > 16} == {0.001}
    for mean, earlier in zip(moments(run), before, strict=True):
        torch.testing.assert_close(mean, earlier * 0.9 ** (STEPS - 16))
    written = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    assert written["backbone"]["init_args"]["dropout"] == 0
    assert (written["label_smoothing"], written["max_length"]) == (0.2, 15)


def moments(run: Path) -> list[torch.Tensor]:
    """Means of the gradients that Adam keeps in the last checkpoint."""
    [state] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"]
    return [each["exp_avg"] for each in state["state"].values()]


def test_a_run_of_one_batch_starts_from_a_checkpoint_of_one(lslm, config, project):
    given = ("run", "--config", config("pairs"), "--trainer.fast_dev_run=true")
    assert lslm(*given, "--job.name=first").status == 0
    last = only("first-*") / "checkpoints/last.ckpt"
    outcome = lslm(*given, "--job.name=second", f"--ckpt_path={last}")
    assert outcome.status == 0, outcome.err


def test_a_resume_that_fails_before_its_first_step_can_be_resumed_without_its_settings(
    lslm, stopped
):
    straight, run = stopped
    config = (run / "config.yaml").read_bytes()
    words = [
        "--model.optimizer.lr=0.5",
        "--trainer.callbacks+=tests.commands.test_resume.FailsAtOnce",
    ]
    refused(lslm("resume", run, *words), 1, "no memory")
    assert (run / "config.yaml").read_bytes() == config
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    assert client.get_run(run_id).info.status == "FAILED"
    assert lslm("resume", run).status == 0
    same_run(straight, run)


def test_a_run_in_training_is_not_resumed(lslm, stopped):
    _, run = stopped
    with FileLock(run / ".lock"):
        refused(lslm("resume", run), 1, "another process")


def test_a_finished_run_trains_on_where_it_is_asked_to(lslm, stopped):
    straight, _ = stopped
    assert lslm("resume", straight, "--trainer.max_steps", STEPS + 10).status == 0
    assert (
        torch.load(straight / "checkpoints/last.ckpt", weights_only=True)["global_step"]
        == STEPS + 10
    )
    assert max(step for step, _ in points(straight)["train/loss"]) == STEPS + 10
    note = (
        MlflowClient()
        .get_run(json.loads((straight / "mlflow.json").read_text())["run_id"])
        .data.tags["mlflow.note.content"]
    )
    assert "lslm run --config" in note, "which began it"
    assert "lslm resume" not in note


@pytest.mark.distributed
def test_another_number_of_processes_is_said_and_every_batch_comes_once(together, stopped):
    """Two processes with one micro-batch each a step instead of one with two: the same steps but
    for rounding.
    """
    straight, run = stopped
    said = ""
    for process in together("resume", run, "--trust", *TWO, "--trainer.accumulate_grad_batches", 1):
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        said += output
    assert "saved by 1 x 2 micro-batches a step" in said
    assert "resumes with 2 x 1" in said
    one, two = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True) for path in (straight, run)
    )
    assert one["global_step"] == two["global_step"] == STEPS
    assert one["position"] == two["position"] == 2 * STEPS
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(weight, two["state_dict"][name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "status", "said"), [(["nowhere"], 1, "nowhere"), ([], 2, "RUN"), (["--help"], 0, "")]
)
def test_what_is_no_run(words, status, said, lslm):
    outcome = lslm("resume", *words)
    assert outcome.status == status
    assert said in outcome.err


def test_a_run_whose_process_is_gone_is_marked_by_the_next_command(start, lslm, config):
    process = start(
        "-m",
        "lslm_lightning",
        "run",
        "--config",
        config("pairs"),
        "--job.name=lost",
        "--trainer.max_steps=100000",
    )
    wait_until(lambda: bool(list(Path("runs").glob("*/lost-*/checkpoints/last.ckpt"))), process)
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    run_id = json.loads((only("lost-*") / "mlflow.json").read_text())["run_id"]
    assert (
        lslm("run", "--config", config("pairs"), "--job.name=next", "--trainer.max_steps=2").status
        == 0
    )
    assert client.get_run(run_id).info.status == "RUNNING", "it does run"
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert lslm("compare", "--experiment", "translation").status == 0
    assert client.get_run(run_id).info.status == "KILLED"


def test_sync_brings_what_mlflow_lacks_and_nothing_twice(lslm, stopped, project):
    """Sync to a store that has lost part of a run, and to one that never had it."""
    straight, _ = stopped
    run_id = json.loads((straight / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    with sqlite3.connect(project / "mlflow.db") as store:
        lost = store.execute(
            "DELETE FROM metrics WHERE run_uuid = ? AND step > 20", (run_id,)
        ).rowcount
        some = (
            "DELETE FROM params WHERE run_uuid = ? AND (key LIKE 'backbone.%' OR key LIKE 'max_%')"
        )
        n_parameter = store.execute(some, (run_id,)).rowcount
        store.execute("DELETE FROM tags WHERE run_uuid = ? AND key IN ('task', 'seed')", (run_id,))
    artifacts = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    if artifacts.is_relative_to(project):
        (artifacts / "metrics.json").unlink()
    outcome = lslm("sync", straight)
    assert outcome.status == 0, outcome.err
    assert f"{lost:,} points" in outcome.out
    assert n_parameter > 3
    assert f"{n_parameter} parameters, 2 tags were missing" in outcome.out
    everything = [
        tuple(json.loads(line).values())
        for line in (straight / "metrics.jsonl").read_text().splitlines()
    ]

    def same(client, run_id):
        names = {row[2] for row in everything}
        found = [
            (m.step, m.timestamp, n, m.value)
            for n in names
            for m in client.get_metric_history(run_id, mlflow_name(n))
        ]
        assert sorted(found) == sorted(
            (step, round(when * 1000), name, value) for step, when, name, value in everything
        )
        assert client.get_run(run_id).info.status == "FINISHED"

    same(client, run_id)
    assert "0 points, 0 files, 0 parameters, 0 tags were missing" in lslm("sync", straight).out
    client.delete_run(run_id)
    refused(
        lslm("sync", straight), 1, "was deleted in MLflow", f"mlflow runs restore --run-id {run_id}"
    )
    refused(
        lslm("resume", straight, "--trainer.max_steps=99"),
        1,
        "was deleted in MLflow",
        "restore --run-id",
    )
    client.restore_run(run_id)
    other = project / "other"
    other.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}/mlflow.db")
        outcome = lslm("sync", straight)
    assert outcome.status == 0, outcome.err
    new = json.loads((straight / "mlflow.json").read_text())["run_id"]
    assert new != run_id
    client = MlflowClient(f"sqlite:///{other}/mlflow.db")
    same(client, new)
    assert client.get_run(new).data.params["max_steps"] == str(STEPS)
    assert {a.path for a in client.list_artifacts(new, "checkpoints")} == {"checkpoints/best.ckpt"}


def test_a_copied_project_goes_on_in_its_own_store(lslm, stopped, project, monkeypatch):
    """The store of the original, which its records name, is left alone."""
    _, run = stopped
    copy = project.with_name(f"{project.name} copy%20")
    shutil.copytree(project, copy)
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    before = (project / "mlflow.db").read_bytes()
    artifacts = {path for path in project.rglob("*") if "mlartifacts" in path.parts}
    monkeypatch.chdir(copy)
    outcome = lslm("resume", run)
    assert outcome.status == 0, outcome.err
    assert (project / "mlflow.db").read_bytes() == before
    assert {path for path in project.rglob("*") if "mlartifacts" in path.parts} == artifacts
    here = copy / "mlartifacts" / "translation" / run_id / "artifacts"
    assert (here / "checkpoints" / "best.ckpt").read_bytes() == (
        only(run.name) / "checkpoints/best.ckpt"
    ).read_bytes()
    assert f"{only(run.name)}: 0 points" in lslm("sync", only(run.name)).out
    shutil.copytree(only(run.name), only(run.name).with_name("another"))
    every = lslm("sync", "runs/*/*")
    assert every.status == 0, every.err
    assert every.out.count(" were missing") == len(list(Path("runs").glob("*/*"))) > 1


def test_a_choice_whether_to_compile_is_kept_and_obeyed(lslm, config):
    words = ["--trainer.precision=32-true", "--trainer.max_steps=2", "--model.compile=auto"]
    started = lslm("fit", "--config", config("windows"), *words)
    assert "not compiled" in started.out
    run = only("*")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["model"]["init_args"]["compile"] is False
    resumed = lslm("resume", run, "--trainer.max_steps=3")
    assert resumed.status == 0, resumed
    assert "compiled" not in resumed.out


class Wobble(Callback):
    """Training that depends on the process it runs in, as no callback should."""

    def on_train_batch_start(self, trainer, task, *args):
        with torch.no_grad():
            next(task.parameters()).add_(1e-6 * (os.getpid() % 1000 + 1))


@pytest.mark.parametrize("exact", [True, False])
def test_verify_resume_tells_runs_that_resume_exactly_from_others(
    exact, lslm, config, monkeypatch, origin, project, empty_store
):
    """Its processes are forked, which saves their imports, and its store is copied."""

    def start(trial, words):
        if not (trial.folder / empty_store.name).exists():
            shutil.copy(empty_store, trial.folder)
        return origin.fork(words, trial.environment, project)

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(Trial, "start", start)
    monkeypatch.setattr(os, "killpg", os.kill)
    words = ["--steps", 6, "--kills", 1] + (
        [] if exact else ["--trainer.callbacks+=tests.commands.test_resume.Wobble"]
    )
    outcome = lslm("verify-resume", "--config", config("windows"), *words)
    assert outcome.status == (0 if exact else 1), outcome
    assert ("equal to the last bit" in outcome.out) == exact
    assert ("the killed run ended differently" in outcome.err) != exact
    assert not Path("runs").exists(), "one's own runs are left alone"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["--config", "none.yaml"], 2, "none.yaml"), (["--config", "x", "--steps", "1"], 2, "1")],
)
def test_what_cannot_be_verified(words, status, said, lslm):
    refused(lslm("verify-resume", *words), status, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--trainer.max_steps", "3"],
            "--trainer.max_steps=3 with --steps 20: --steps sets the length",
        ),
        (["--steps=7", "--trainer.max_steps=3"], "--trainer.max_steps=3 with --steps 7"),
        (["--trainer", "{max_steps: 3}"], "--trainer.max_steps=3 with --steps 20"),
        (["--trainer=trainer.yaml"], "--trainer.max_epochs=1 with --steps 20"),
        (["--trainer.max_time=00:00:01:00"], "--trainer.max_time=00:00:01:00"),
        (["--trainer.fast_dev_run=true"], "--trainer.fast_dev_run=true"),
        (["--job.minutes=1"], "--job.minutes=1 with --steps 20"),
        (["--job", "{seeds: 2}"], "--job.seeds=2: one training"),
        (["--seeds", "2"], "--seeds=2: one training"),
        (["--job.root", "mine"], "--job.root=mine: each training is kept in a temporary folder"),
        (["--job.name=mine"], "--job.name=mine"),
        (["--job.save_every_steps=9"], "--job.save_every_steps=9: this command sets"),
        (["--ckpt_path=last.ckpt"], "--ckpt_path=last.ckpt: each training starts from step 0"),
    ],
)
def test_what_this_command_decides_is_refused_by_both_names(words, said, lslm, project):
    Path("trainer.yaml").write_text("max_epochs: 1\n")
    Path("any.yaml").write_text("{}\n")
    refused(lslm("verify-resume", "--config", "any.yaml", *words), 2, said)


def test_settings_of_a_command_line_are_told_from_their_values():
    words = [
        "--trainer.devices",
        "2",
        "--trainer.callbacks+=Timer",
        "--model.optimizer.lr=1e-3",
        "--trainer",
        "{",
        "--data",
        "--max_steps",
    ]
    assert not {name for name, _ in given_settings(words)} & {*DECIDED}


def test_states_differ_where_anything_does(stopped):
    straight, run = stopped
    one = straight / "checkpoints/last.ckpt"
    two = run / "checkpoints/last.ckpt"
    assert differences(one, one) == ""
    assert differences(one, two).startswith("step ")
    for change, words in (
        (lambda s: next(iter(s["state_dict"].values())).view(-1)[0].add_(1e-7), "1 of "),
        (
            lambda s: s["optimizer_states"][0]["state"][0]["exp_avg"].view(-1)[0].add_(1e-7),
            "the optimizer",
        ),
    ):
        state = torch.load(one, weights_only=True)
        change(state)
        torch.save(state, two)
        assert words in differences(one, two)


def test_what_a_run_had_come_to_stands_aside_where_it_is_trained_anew(lslm, stopped):
    straight, _ = stopped
    before = points(straight)
    first = json.loads((straight / "mlflow.json").read_text())["run_id"]
    outcome = lslm(
        "resume", straight, "--no-checkpoint", "--trainer.max_steps=6", "--model.optimizer.lr=0.5"
    )
    assert outcome.status == 0, outcome.err
    aside = straight / "before-1"
    assert str(aside) in outcome.out
    assert points(aside) == before
    assert (aside / "checkpoints/best.ckpt").exists()
    assert max(step for step, _ in points(straight)["train/loss"]) <= 6 < STEPS
    second = json.loads((straight / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    assert second != first
    assert len(client.get_metric_history(first, "train/loss")) == len(before["train/loss"])
    assert [client.get_run(each).info.status for each in (first, second)] == [
        "FINISHED",
        "FINISHED",
    ]


def test_syncing_a_killed_run_leaves_its_end_as_it_was(lslm, stopped):
    """The run was noted to be at work when it was killed; the system metrics of then are not those
    of now.
    """
    _, run = stopped
    noted = json.loads((run / "mlflow.json").read_text())
    (run / "mlflow.json").write_text(json.dumps(noted | {"status": "RUNNING", "ending": None}))
    (run / "environment.txt").write_text("torch==0.1\n")
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    for name in ("corpus.test_digest", "scores"):
        if name in client.get_run(noted["run_id"]).data.tags:
            client.delete_tag(noted["run_id"], name)
    lost = noted["tags"]
    outcome = lslm("sync", run)
    assert outcome.status == 0, outcome.err
    found = client.get_run(noted["run_id"])
    assert found.info.status == "KILLED"
    assert abs(found.info.end_time / 1000 - (run / "metrics.jsonl").stat().st_mtime) < 2
    assert (run / "environment.txt").read_text() == "torch==0.1\n"
    assert lost.items() <= found.data.tags.items()
    outcome = lslm("sync", "runs/none", run)
    assert outcome.status == 1
    assert "0 points" in outcome.out, "the second is brought where the first cannot be"


def test_a_run_without_its_last_state_is_not_begun_anew_unasked(lslm, stopped):
    """Resume a run that was fetched from MLflow, which has the best checkpoint alone."""
    _, run = stopped
    for path in (run / "checkpoints").glob("last*.ckpt"):
        path.unlink()
    refused(lslm("resume", run), 1, "no last.ckpt", "--no-checkpoint")


def test_a_finished_run_that_trains_on_and_is_killed_is_not_finished(lslm, stopped):
    straight, _ = stopped
    record = json.loads((straight / "mlflow.json").read_text())
    assert record["status"] == "FINISHED"
    tracker = Tracker(
        "translation", straight.name, straight, run_id=record["run_id"], system_metrics=False
    )
    tracker.start()
    assert RunDirectory(straight).beginning["status"] == "RUNNING"
    assert RunDirectory(straight).beginning["began"] == record["began"]
    tracker.end("KILLED")
    assert RunDirectory(straight).beginning["status"] == "KILLED"


def test_children_of_seeds_are_resumed_one_by_one(lslm, stopped):
    straight, _ = stopped
    path = straight / "config.yaml"
    path.write_text(path.read_text("utf-8").replace("seeds: 1", "seeds: 2"), "utf-8")
    refused(lslm("resume", straight), 1, "parent of seeds", "-seed-*")


@pytest.mark.distributed
def test_rows_in_order_have_their_processes_and_two_train_what_one_does(together, lslm, config):
    """Without dropout, two processes with three rows each take the steps of one with six; neither
    goes on with the state of the other.
    """
    path = config("rows")
    words = ("fit", "--config", path, "--trainer.max_steps=20", "--model.backbone.dropout=0")
    for process in together(*words, "--job.name=two"):
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
    assert lslm(*words, "--job.name=one", "--data.batch_size=6").status == 0
    one, two = (
        torch.load(only(f"{name}-*") / "checkpoints/last.ckpt", weights_only=True)
        for name in ("one", "two")
    )
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(weight, two["state_dict"][name], rtol=0, atol=1e-5)
    carried = [
        [torch.cat(parts) for parts in zip(*layers, strict=True)]
        for layers in zip(*two["carried"], strict=True)
    ]
    torch.testing.assert_close(
        [list(layer) for layer in one["carried"][0]], carried, rtol=0, atol=1e-4
    )
    more = ("--trainer.max_steps=30", "--trainer.devices=1", "--trainer.strategy=auto")
    words = "the number of processes that each read contiguous rows (2 then, 1 now) changed"
    refused(lslm("resume", only("two-*"), *more), 1, words)
