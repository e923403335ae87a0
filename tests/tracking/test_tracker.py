"""What a run leaves in MLflow, on an SQLite file and on a real server."""

import errno
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from mlflow import MlflowClient
from mlflow.entities import Run
from torch.utils.data import DataLoader

from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Tracker, TrackingError
from tests.support.forked_commands import Origin
from tests.support.slow_connection import Wire
from tests.support.waiting import PATIENCE, at_most


@pytest.fixture
def tracker(address: str, run_directory: Path) -> Iterator[Tracker]:
    made = Tracker("toy", "first", run_directory, address, tags={"seed": 7}, system_metrics=False)
    made.start()
    yield made
    made.end("FAILED")


def stored(tracker: Tracker) -> Run:
    return MlflowClient(tracker.store.uri).get_run(tracker.version)


def history(tracker: Tracker, name: str) -> list[tuple[int, float, int]]:
    return sorted(
        (point.step, point.value, point.timestamp)
        for point in MlflowClient(tracker.store.uri).get_metric_history(tracker.version, name)
    )


def mirrored(directory: Path, name: str) -> list[tuple[int, float, int]]:
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return sorted(
        (row["step"], row["value"], round(row["time"] * 1000))
        for row in rows
        if row["name"] == name
    )


def test_every_point_is_stored_once_as_it_was(tracker: Tracker, run_directory: Path) -> None:
    for step in range(1234):
        tracker.log_metrics({"train/loss": 1 / (step + 1), "chrF++": step}, step)
    assert tracker.flush()
    for name in ("train/loss", "chrF++"):
        points = history(tracker, name.replace("+", "_"))
        assert [point[0] for point in points] == list(range(1234))
        assert points == mirrored(run_directory, name)


def test_not_a_number_and_infinity_are_stored_too(tracker: Tracker) -> None:
    tracker.log_metrics({"a": float("nan"), "b": float("inf")}, 3)
    assert tracker.flush()
    assert len(history(tracker, "a")) == len(history(tracker, "b")) == 1
    assert tracker.problems == []


def test_the_status_is_what_the_first_end_says_and_never_what_lightning_says(
    tracker: Tracker,
) -> None:
    tracker.finalize("success")
    assert stored(tracker).info.status == "RUNNING"
    tracker.end("KILLED")
    tracker.end("FINISHED")
    assert stored(tracker).info.status == "KILLED"
    tracker.log_metrics({"late": 1.0}, 1)


def test_parameters_are_flat_and_long_ones_a_hash(tracker: Tracker) -> None:
    many = {f"p{i}": i for i in range(230)}
    tracker.log_hyperparams({"model": {"init_args": {"d_model": 256, "text": "x" * 9000}}, **many})
    tracker.log_hyperparams({"p0": "another value, which MLflow would refuse", "new": 1})
    assert tracker.flush()
    params = stored(tracker).data.params
    assert params["model.init_args.d_model"] == "256"
    assert params["model.init_args.text"].startswith("sha256:")
    assert (params["p0"], params["p229"], params["new"]) == ("0", "229", "1")
    assert tracker.problems == []


def test_languages_are_a_tag_and_a_list(tracker: Tracker, run_directory: Path) -> None:
    """A tag is for people; mlflow.json tells "zh-Hans" from two languages."""
    tracker.set_languages(["zh-Hans", "zh-Hans"])
    record = RunDirectory(run_directory).beginning
    assert (record["tags"]["languages"], record["languages"]) == ("zh-Hans", ["zh-Hans"] * 2)
    tracker.set_languages(["en", "de"])
    record = RunDirectory(run_directory).beginning
    assert (record["tags"]["languages"], record["languages"]) == ("en-de", ["en", "de"])


def test_tags_say_where_the_run_is_and_what_made_it(tracker: Tracker, run_directory: Path) -> None:
    tracker.set_tags({"corpus": "multi30k", "long": "x" * 10_000})
    assert tracker.flush()
    run = stored(tracker)
    assert run.info.run_name == "first"
    assert (run.data.tags["seed"], run.data.tags["corpus"]) == ("7", "multi30k")
    assert run.data.tags["lslm.directory"] == str(run_directory)
    assert json.loads((run_directory / "mlflow.json").read_text())["run_id"] == run.info.run_id


def test_git_state_is_a_tag(store: Path, run_directory: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=b"]
    Path("tracked.txt").write_text("1")
    for command in (["init", "-q"], ["add", "tracked.txt"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    for dirty in ("false", "true"):
        tracker = Tracker("toy", "first", run_directory, system_metrics=False)
        tracker.start()
        tracker.end("FINISHED")
        tags = stored(tracker).data.tags
        assert (tags["git.commit"], tags["git.dirty"]) == (commit, dirty)
        Path("tracked.txt").write_text("2")


def test_data_sets_are_inputs_with_whole_digests(tracker: Tracker) -> None:
    tracker.log_dataset("multi30k", "ab" * 32, "train", "https://example.org/multi30k")
    tracker.log_dataset("multi30k", "cd" * 32, "test", "/data/multi30k")
    assert tracker.flush()
    inputs = {
        tag.value: found
        for found in stored(tracker).inputs.dataset_inputs
        for tag in found.tags
        if tag.key == "mlflow.data.context"
    }
    assert {split: found.dataset.name for split, found in inputs.items()} == {
        "train": "multi30k",
        "test": "multi30k",
    }
    assert "ab" * 32 in [tag.value for tag in inputs["train"].tags]
    assert json.loads(inputs["test"].dataset.source) == {"uri": "/data/multi30k"}


def test_two_splits_with_the_same_content_are_two_inputs(tracker: Tracker) -> None:
    for _ in range(2):  # as a run does that goes on
        for split in ("val", "test"):
            tracker.log_dataset("pairs en-zh", "2:" + "ab" * 32, split, "/data/pairs")
    tracker.log_dataset("pairs en-de", "2:" + "cd" * 32, "test", "/data/pairs")
    assert tracker.flush()
    found = {
        (each.dataset.name, tag.value)
        for each in stored(tracker).inputs.dataset_inputs
        for tag in each.tags
        if tag.key == "mlflow.data.context"
    }
    assert found == {
        ("pairs en-zh", "val"),
        ("pairs en-zh (test)", "test"),
        ("pairs en-de", "test"),
    }


def test_artifacts_lie_as_in_the_run_directory(
    tracker: Tracker, run_directory: Path, tmp_path: Path
) -> None:
    for name in ("config.yaml", "checkpoints/best.ckpt", "report/index.html", "elsewhere.txt"):
        path = run_directory / name if name != "elsewhere.txt" else tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"this is {name}: 你好")
    for path in ("config.yaml", "checkpoints/best.ckpt", "report"):
        tracker.log_artifact(run_directory / path)
    tracker.log_artifact(tmp_path / "elsewhere.txt", "notes")
    assert tracker.flush()
    folder = Path(
        MlflowClient(tracker.store.uri).download_artifacts(tracker.version, "", str(tmp_path))
    )
    for name in ("config.yaml", "checkpoints/best.ckpt", "report/index.html"):
        assert (folder / name).read_text() == f"this is {name}: 你好"
    assert (folder / "notes" / "elsewhere.txt").exists()
    assert f"torch=={torch.__version__}" in (folder / "environment.txt").read_text()


def test_predictions_are_a_table_that_says_how_many_rows_it_has_of_how_many(
    tracker: Tracker, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.store.uri)  # load_table asks the global store
    path = run_directory / "test.jsonl"
    rows = [{"id": str(i), "output": f"<b>第{i}句</b>"} for i in range(50)] + [
        {"id": "50", "nats": 1.5}
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tracker.log_table(path, limit=20)
    assert tracker.flush()
    run = stored(tracker)
    table = MlflowClient(tracker.store.uri).load_table(
        run.info.experiment_id, "tables/test.json", [run.info.run_id]
    )
    assert list(table["output"]) == [f"<b>第{i}句</b>" for i in range(20)]
    assert run.data.tags["rows.test"] == "20 of 51"


def test_what_cannot_be_stored_is_told_once_and_ends_nothing(
    tracker: Tracker, tmp_path: Path
) -> None:
    tracker.log_artifact(tmp_path / "missing")
    tracker.log_table(tmp_path / "missing.jsonl")
    tracker.log_metrics({"a": 1.0}, 0)
    assert tracker.flush()
    assert len(tracker.problems) == 1
    assert "missing" in tracker.problems[0]
    assert len(history(tracker, "a")) == 1


def test_a_run_can_be_part_of_another(store: Path, run_directory: Path) -> None:
    parent = Tracker("toy", "parent", run_directory, system_metrics=False)
    parent.start()
    child = Tracker(
        "toy", "child", run_directory, parent_run_id=parent.version, system_metrics=False
    )
    child.start()
    child.end("FINISHED")
    parent.end("FINISHED")
    found = MlflowClient(parent.store.uri).search_runs(
        [stored(parent).info.experiment_id], f"tags.mlflow.parentRunId = '{parent.version}'"
    )
    assert [run.info.run_id for run in found] == [child.version]


def test_the_load_of_the_machine_is_measured(store: Path, run_directory: Path) -> None:
    tracker = Tracker("toy", "first", run_directory)
    tracker.start()
    tracker.end("FINISHED")
    metrics = stored(tracker).data.metrics
    assert 0 < metrics["system/system_memory_usage_percentage"] < 100
    assert "system/cpu_utilization_percentage" in metrics


def test_other_ranks_know_the_run_and_touch_nothing(
    tracker: Tracker, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run_directory / "metrics.jsonl").stat().st_mtime_ns
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.setattr("lslm_lightning.tracking.tracker.Store.open_experiment", None)
    other = Tracker("toy", "first", run_directory, tracker.store.uri)
    other.start()
    assert other.version == tracker.version
    other.log_metrics({"a": 1.0}, 0)
    other.log_hyperparams({"b": 1})
    other.log_artifact("missing")
    other.finalize("success")
    other.end("FINISHED")
    assert (run_directory / "metrics.jsonl").stat().st_mtime_ns == before
    assert stored(tracker).info.status == "RUNNING"


def test_a_run_directory_that_cannot_be_written_is_refused(project: Path) -> None:
    (project / "file").write_text("")
    with pytest.raises(TrackingError, match="cannot write in the run directory"):
        Tracker("toy", "first", project / "file").start()


class Toy(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, i: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def test_step(self, batch: torch.Tensor, i: int) -> None:
        self.log("test/loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_lightning_fits_and_tests_in_one_run(tracker: Tracker, run_directory: Path) -> None:
    quiet = {
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = Trainer(logger=tracker, max_steps=12, log_every_n_steps=1, **quiet)
    assert trainer.log_dir == str(run_directory)
    data = DataLoader(torch.randn(24, 2), 2)
    model = Toy()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert stored(tracker).info.status == "RUNNING"
    tracker.end("FINISHED")
    assert len(history(tracker, "train/loss")) == 12
    assert len(history(tracker, "test/loss")) == 1
    assert stored(tracker).info.status == "FINISHED"


def test_lightning_never_waits_for_the_store_between_steps(
    store: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker("toy", "first", run_directory, system_metrics=False)
    tracker.start()
    send = tracker.client.log_batch
    trained = threading.Event()
    answers = []

    def log_batch(*arguments: object, **settings: object) -> None:
        answers.append(trained.wait(PATIENCE))
        send(*arguments, **settings)

    monkeypatch.setattr(tracker.client, "log_batch", log_batch)
    model = Toy()
    model.on_train_end = trained.set
    quiet = {
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    Trainer(logger=tracker, max_steps=20, log_every_n_steps=1, **quiet).fit(
        model, DataLoader(torch.randn(40, 2), 2)
    )
    tracker.end("FINISHED")
    assert len(history(tracker, "train/loss")) == 20
    assert answers
    assert all(answers), "all steps were trained before the store answered once"


def test_a_full_disk_keeps_nothing_from_mlflow(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lslm_lightning.tracking.run_record.atomic_write", full)
    tracker.set_tags({"corpus": "toy"})
    tracker.log_dataset("toy", "0123", "train", "data/toy")
    tracker.end("FINISHED")
    assert tracker.problems == ["mlflow.json: No space left on device"]
    assert stored(tracker).data.tags["corpus"] == "toy"
    assert stored(tracker).info.status == "FINISHED"


@pytest.mark.slow
def test_a_killed_process_leaves_a_run_that_is_not_finished(
    store: Path, run_directory: Path, origin: Origin
) -> None:
    code = f"""
import time
from lslm_lightning.tracking import Tracker
tracker = Tracker("toy", "killed", {str(run_directory)!r})
tracker.start()
for step in range(100):
    tracker.log_metrics({{"loss": 1.0}}, step)
tracker.flush()
tracker.log_metrics({{"loss": 1.0}}, 100)
print(tracker.version, flush=True)
time.sleep(600)
"""
    script = run_directory / "killed.py"
    script.write_text(code)
    process = origin.fork([], os.environ, Path.cwd(), script=script)
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    client = MlflowClient(f"sqlite:///{store}")
    assert client.get_run(run_id).info.status == "RUNNING"
    assert len(client.get_metric_history(run_id, "loss")) >= 100
    assert len(mirrored(run_directory, "loss")) == 101


@pytest.mark.slow
def test_an_outage_of_the_server_costs_no_point_and_no_time(
    server: str, run_directory: Path
) -> None:
    wire = Wire(int(server.rpartition(":")[2]))
    tracker = Tracker(
        "toy",
        "first",
        run_directory,
        f"http://user:top-secret@127.0.0.1:{wire.port}",
        system_metrics=False,
    )
    tracker.start()
    tracker.log_metrics({"loss": 0.0}, 0)
    assert tracker.flush()
    wire.cut()
    with at_most(1.5):
        for step in range(1, 1500):
            tracker.log_metrics({"loss": 1.0}, step)
        tracker.set_tags({"during": "outage"})
    assert not tracker.flush()
    wire.up = True
    tracker.end("FINISHED")
    assert history(tracker, "loss") == mirrored(run_directory, "loss")
    assert len(history(tracker, "loss")) == 1500
    assert stored(tracker).data.tags["during"] == "outage"
    assert stored(tracker).info.status == "FINISHED"
    assert len(tracker.problems) == 2
    everything = [
        *tracker.problems,
        str(stored(tracker).to_dictionary()),
        (run_directory / "mlflow.json").read_text(),
    ]
    assert not any("top-secret" in text for text in everything)
