"""A run directory or a database from a stranger gets no credentials, no files of this machine, and
writes nowhere else.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lslm_lightning.experiments.synchronization import sync
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.own_runs import register_run
from lslm_lightning.safety import named_servers
from lslm_lightning.safety.user_files import state_directory
from lslm_lightning.tracking import Store, Tracker, TrackingError
from lslm_lightning.tracking.logged_models import CHECKPOINT
from lslm_lightning.tracking.store import recorded_store, store_of_run
from lslm_lightning.tracking.uploads import links_of, local_files


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[Any]]]:
    """A server, and the headers that were sent to it."""
    seen: list[Any] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            self.send_error(404)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "my-own-password")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "my-own-token")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as web:
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", seen
        web.shutdown()


def note(directory: Path, **facts: Any) -> None:
    (directory / "mlflow.json").write_text(
        json.dumps({"run_id": "a" * 32, "experiment": "toy", **facts})
    )


def test_sync_sends_nothing_to_a_server_that_a_run_names(project, run_directory, stranger):
    address, seen = stranger
    (run_directory / "config.yaml").write_text("model: {class_path: a.B}\n")
    note(run_directory, store=address)
    with pytest.raises(ValueError, match=f"set MLFLOW_TRACKING_URI={address}"):
        sync(RunDirectory(run_directory))
    assert seen == []


@pytest.mark.parametrize(
    "address",
    [
        "http://evil:5000",
        "https://evil/x",
        "HTTPS://Evil",
        "postgresql://evil/db",
        "databricks://evil",
        "./elsewhere",
        "x://y",
    ],
)
def test_a_store_that_was_never_named_is_not_used(project, address):
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI"):
        recorded_store({"store": address}, Path())


def test_a_server_that_was_named_once_is_used_again(project, monkeypatch):
    named_servers.add("https://me:my-pass-word@host:5000/mlflow/")
    named_servers.add("http://other")
    assert recorded_store({"store": "http://other/"}, Path()) == "http://other/"
    with pytest.raises(ValueError, match="password is not recorded"):
        recorded_store({"store": "https://***@host:5000/mlflow"}, Path())
    record = state_directory() / "tracking-servers"
    assert "my-pass-word" not in record.read_text()
    assert record.stat().st_mode & 0o077 == 0
    for alike in (
        "https://evil:/x@host:5000/mlflow",
        "https://evil\\@host:5000/mlflow",
        "https://you:x@host:5000/mlflow",
    ):
        with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI"):
            recorded_store({"store": alike}, Path())
    for alike in (
        "http://other.evil",
        "http://other@evil",
        "http://othe",
        "http://other:1",
        "https://other",
    ):
        with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI"):
            recorded_store({"store": alike}, Path())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    assert recorded_store({"store": "http://evil"}, Path()) is None, "the user's own counts"


@pytest.mark.slow
def test_a_run_on_a_server_makes_it_known(server, project, run_directory, monkeypatch):
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI"):
        recorded_store({"store": f"{server}/"}, run_directory)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = Tracker("toy", "first", run_directory, system_metrics=False)
    tracker.start()
    tracker.end("FINISHED")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert (
        recorded_store(json.loads((run_directory / "mlflow.json").read_text()), run_directory)
        == server
    )


def test_a_database_that_keeps_files_on_a_server_gets_none(store, project, run_directory, stranger):
    address, seen = stranger
    MlflowClient(f"sqlite:///{store}").create_experiment(
        "toy", artifact_location=f"{address}/api/2.0/mlflow-artifacts/artifacts"
    )
    with pytest.raises(TrackingError, match=f"{address}, which you have not named"):
        Tracker("toy", "first", run_directory, system_metrics=False).start()
    assert seen == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "s3://evil/x",
        "ftp://127.0.0.1:1/x",
        "file://{}/elsewhere",
        "{}/elsewhere",
        "{}/a/../elsewhere",
    ],
)
def test_a_database_of_a_run_keeps_files_in_its_folder(
    store, project, run_directory, monkeypatch, place
):
    database = project / "a/mlflow.db"
    database.parent.mkdir()
    address = f"sqlite:///{database}"
    MlflowClient(address).create_experiment("toy", artifact_location=place.format(project))
    with store_of_run({"store": address}, run_directory):
        tracker = Tracker("toy", "first", run_directory, system_metrics=False)
    with pytest.raises(
        TrackingError, match="outside of its folder; if that is right, set MLFLOW_TRACKING_URI"
    ):
        tracker.start()
    assert not (project / "elsewhere").exists()
    assert not (run_directory / "mlflow.json").exists()
    if "elsewhere" in place:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracker = Tracker("toy", "first", run_directory, system_metrics=False)
        tracker.start()
        tracker.end("FINISHED")
        assert [*(project / "elsewhere").glob("*/artifacts/metrics.jsonl")]


def test_scores_of_a_stranger_are_not_linked_to_a_model(store, project, run_directory, capsys):
    """Else a forged record could give the model of somebody else any score."""
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.create_experiment("of others")
    tags = {CHECKPOINT: "0" * 64}
    model = client.create_logged_model(experiment, "precious", tags=tags)
    tracker = Tracker("toy", "first", run_directory, system_metrics=False)
    tracker.start()
    tracker.log_metrics({"test/bleu": 100.0}, 1)
    tracker.end("FINISHED")
    run = RunDirectory(run_directory)
    run.config.write_text("model: {class_path: a.B}\n")
    forged = {"model_id": model.model_id, "checkpoint": "0" * 64}
    facts = {**forged, "metric": "val/bleu", "score": 1.0, "loss": 1.0}
    run.record.write_text(json.dumps({**json.loads(run.record.read_text()), "tested_model": facts}))
    for n_score in (0, 1):
        sync(run)
        assert len(client.get_logged_model(model.model_id).metrics or []) == n_score
        assert ("not linked" in capsys.readouterr().out) == (n_score == 0)
        register_run(run.config)  # as the commands of this user do


@pytest.mark.parametrize("name", ["metrics.jsonl", "mlflow.json", "environment.txt"])
def test_a_link_is_not_written_through(store, project, run_directory, name):
    target = project / "precious"
    target.write_text("keep me")
    (run_directory / name).symlink_to(target)
    with pytest.raises(TrackingError, match="is a symbolic link"):
        Tracker("toy", "first", run_directory, system_metrics=False).start()
    assert target.read_text() == "keep me"


def linked(directory: Path, secret: Path) -> list[str]:
    """Links of all kinds in a run directory, by their names."""
    (directory / "report/deep").mkdir(parents=True)
    (directory / "predictions").mkdir()
    (directory / "report/index.html").write_text("page")
    (directory / "report/deep/real").write_text("real")
    (directory / "predictions/test.jsonl").symlink_to(secret / "file")
    (directory / "report/deep/file").symlink_to(secret / "file")
    (directory / "report/folder").symlink_to(secret)
    (directory / "samples").symlink_to(secret)
    (directory / "tokenizer.json").symlink_to(secret / "file")
    (directory / "report/relative").symlink_to("deep/file")
    return [
        "predictions/test.jsonl",
        "report/deep/file",
        "report/folder",
        "samples",
        "tokenizer.json",
        "report/relative",
    ]


def test_links_are_left_out_of_uploads_and_told(store, project, run_directory, monkeypatch):
    secret = project / "secret"
    secret.mkdir()
    (secret / "file").write_text('{"id": "1", "output": "private"}\n')
    links = linked(run_directory, secret)
    assert local_files(run_directory) == ["report/deep/real", "report/index.html"]
    tracker = Tracker("toy", "first", run_directory, system_metrics=False)
    told: list[str] = []
    monkeypatch.setattr(
        "lslm_lightning.tracking.mlflow_run.log.warning",
        lambda words, *given: told.append(words % given),
    )
    tracker.start()
    for name in (
        "report",
        "samples",
        "predictions",
        "tokenizer.json",
        "predictions/test.jsonl",
        "report/deep/file",
    ):
        tracker.log_artifact(run_directory / name)
    tracker.log_table(run_directory / "predictions/test.jsonl")
    tracker.end("FINISHED")
    kept = [path for path in (project / "mlartifacts").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {
        "index.html",
        "real",
        "environment.txt",
        "metrics.jsonl",
    }
    assert not any("private" in path.read_text() for path in kept)
    for name in links:
        assert sum(f"/{name}" in words for words in told) == 1, told


def test_only_links_inside_of_a_run_count(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_text("x")
    assert links_of(tmp_path / "a", tmp_path) == []
    (tmp_path / "run").symlink_to(tmp_path / "a")
    assert links_of(tmp_path / "run/b", tmp_path / "run") == [], (
        "how the run directory itself is reached is the user's affair"
    )


def test_parameters_tags_and_notes_hold_no_secret(store, project, run_directory, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf-value-in-use")
    tracker = Tracker(
        "toy",
        "first",
        run_directory,
        tags={"api_key": "tag-secret", "pad_token": "<pad>"},
        system_metrics=False,
    )
    tracker.start()
    tracker.log_hyperparams(
        {
            "a": {
                "password": "p4ram",
                "url": "http://u:inurl@h",
                "max_tokens": 5,
                "x": "hf-value-in-use",
            }
        }
    )
    tracker.set_tags({"note": "Bearer abcdefgh1234567", "client_secret": "later-tag"})
    tracker.log_dataset("d", "1", "test", "https://host/x.jsonl?token=dataset-t0ken")
    tracker.end("FINISHED")
    run = MlflowClient(f"sqlite:///{store}").get_run(tracker.version)
    everything = str(run.to_dictionary()) + (run_directory / "mlflow.json").read_text()
    for secret in (
        "tag-secret",
        "p4ram",
        "inurl",
        "hf-value-in-use",
        "abcdefgh1234567",
        "later-tag",
        "dataset-t0ken",
    ):
        assert secret not in everything, secret
    assert run.data.params["a.max_tokens"] == "5"
    assert run.data.tags["pad_token"] == "<pad>"


def test_errors_of_a_store_hold_no_secret(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "my-own-token")
    store = Store("https://me:p%40ss-word@host/mlflow?token=q1")
    text = store.explain(
        ValueError(
            "GET https://me:p%40ss-word@host/mlflow?token=q1: p@ss-word, my-own-token, "
            "x?access_token=r2"
        )
    )
    assert not any(secret in text for secret in ("p%40ss", "p@ss", "my-own", "q1", "r2"))
