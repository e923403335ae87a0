"""From the name of a registered model to the directory of its run, and why a name is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lslm_lightning.runs import RunDirectory, find_run
from lslm_lightning.runs.integrity import weights_digest
from lslm_lightning.runs.registered import short_name
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.tracking import Tracker, TrackingError

CONFIG = "model: {class_path: tasks.translation.task.TranslationTask}\n"

Register = Callable[[str], RunDirectory]


@pytest.fixture
def register(project: Path, empty_store: Path) -> Register:
    """Register the checkpoint of a run as a version of the model `dates`."""
    shutil.copy(empty_store, project)

    def finish(content: str) -> RunDirectory:
        directory = RunDirectory(Path("runs/toy/a-1"))
        again = directory.config.exists()
        directory.checkpoints.mkdir(parents=True, exist_ok=True)
        directory.config.write_text(CONFIG)
        directory.best.write_text(content)
        known = directory.run_id if again else None
        tracker = Tracker("toy", "a-1", directory.path, run_id=known, system_metrics=False)
        tracker.start()
        facts = {"checkpoint": weights_digest(directory.best), "registered": "dates"}
        facts |= {"metric": "val/bleu", "score": 1.0, "loss": None, "higher_is_better": True}
        tracker.log_model(facts | {"conditions": "c"}, lambda folder, _: save(folder, content))
        tracker.log_artifact(directory.config)
        tracker.log_artifact(directory.best)
        tracker.end("FINISHED")
        assert tracker.problems == []
        return directory

    return finish


def save(folder: Path, content: str) -> str:
    inside = RunDirectory(folder / "data/run")
    inside.checkpoints.mkdir(parents=True)
    inside.config.write_text(CONFIG)
    inside.best.write_text(f"{content}, alone")  # without the state of the optimizer
    return weights_digest(inside.best)


def client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")


def refusal(reference: str, error: type[Exception] = ValueError) -> str:
    with pytest.raises(error) as raised:
        find_run(reference)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_name_of_a_version_is_its_run(register: Register) -> None:
    directory = register("first")
    model = directory.beginning["model"]["model_id"]
    for end in ("dates@best", "dates/1", "dates/latest", "dates/01", model):
        found = find_run(f"models:/{end}")
        assert found.directory.path == directory.path.absolute()
        assert found.checkpoint.read_text() == "first"
    assert find_run(Path("models:/dates@best")).directory.path == directory.path.absolute()


def test_a_version_has_the_weights_that_were_registered(register: Register) -> None:
    register("first")
    directory = register("second")  # the run was resumed
    assert find_run("models:/dates/2").directory.path == directory.path.absolute()
    for _ in range(2):  # the copy is used again
        older = find_run("models:/dates/1")
        assert older.checkpoint.read_text() == "first, alone"
        assert older.directory.path.parent == Path("runs/toy").absolute()
        assert older.directory.config.read_text() == CONFIG
    assert directory.best.read_text() == "second"


def test_a_model_registered_on_a_page_of_mlflow_is_its_run(register: Register) -> None:
    directory = register("first")
    model = client().get_logged_model(directory.beginning["model"]["model_id"])
    client().create_registered_model("chosen")
    client().create_model_version("chosen", model.artifact_location, await_creation_for=0)
    assert find_run("models:/chosen/1").directory.path == directory.path.absolute()


def test_a_version_outlives_its_run_and_its_directory(register: Register) -> None:
    directory = register("first")
    shutil.rmtree(directory.path)
    run_id = client().get_model_version("dates", "1").run_id
    shutil.rmtree(Path(client().get_run(run_id).info.artifact_uri.removeprefix("file://")))
    copy = find_run("models:/dates@best")  # of the model's own files
    assert copy.checkpoint.read_text() == "first, alone"
    shutil.rmtree(copy.directory.path)
    client().delete_run(run_id)
    copy = find_run("models:/dates@best")
    assert copy.checkpoint.read_text() == "first, alone"
    assert not list(Path("runs/toy").glob(".*"))


def test_a_copy_with_other_weights_is_refused(register: Register) -> None:
    shutil.rmtree(register("first").path)
    version = client().get_model_version("dates", "1")
    model_id = version.tags["lslm.model"]
    copy = find_run("models:/dates@best").directory
    copy.best.write_text("trained on")
    message = refusal("models:/dates@best")
    assert f"{copy.path} has other weights than models:/dates/1" in message
    shutil.rmtree(copy.path)
    files = client().get_logged_model(model_id).artifact_location.removeprefix("file://")
    RunDirectory(Path(files) / "data/run").best.write_text("changed")
    for name in ("dates/1", model_id):
        assert f"files of models:/{name} have other weights" in refusal(f"models:/{name}")
    assert not copy.path.exists()
    client().delete_model_version_tag("dates", "1", "lslm.weights")  # of an earlier release
    assert find_run("models:/dates/1").checkpoint.read_text() == "changed"


def test_what_is_not_there_is_told_with_what_is(register: Register) -> None:
    register("first")
    assert "no registered model 'dats'; did you mean dates?" in refusal("models:/dats/1")
    assert "has no registered model 'x'; it has dates" in refusal("models:/x@best")
    assert "models:/dates has no alias @prod; it has @best" in refusal("models:/dates@prod")
    for version in ("7", "Production", "0"):
        message = refusal(f"models:/dates/{version}")
        assert f"models:/dates has no version {version}; it has 1" in message
    unknown = f"models:/m-{'0' * 32}"
    assert f"has no model {unknown}" in refusal(unknown)
    for malformed in ("models:/", "models:/dates", "models:/a/b/c", "models:/d'x/1", "models:/@b"):
        assert "write models:/NAME@ALIAS" in refusal(malformed)


def test_a_model_made_elsewhere_is_refused_by_name(register: Register, tmp_path: Path) -> None:
    directory = register("first")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    client().create_registered_model("theirs")
    client().create_model_version("theirs", str(tmp_path), directory.run_id, await_creation_for=0)
    theirs = client().create_logged_model("1", "theirs", directory.run_id)
    for name in ("theirs/1", "theirs/latest", theirs.model_id):
        message = refusal(f"models:/{name}")
        assert message.startswith("models:/theirs/1 was not made by lslm") or name in message
        assert "was not made by lslm" in message


def test_no_store_and_no_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mlflow.db" in refusal("models:/dates@best", Exception)
    assert not list(project.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "cannot use MLflow at http://127.0.0.1:9" in refusal("models:/a@best", TrackingError)


def test_files_at_a_server_that_was_never_named_are_not_fetched(register: Register) -> None:
    directory = register("first")
    known: dict[str, Any] = client().get_model_version("dates", "1").tags
    tags = {**known, "lslm.checkpoint": "0" * 64}
    source = "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts"
    client().create_model_version(
        "dates", source, directory.run_id, tags=tags, await_creation_for=0
    )
    assert "which you have not named" in refusal("models:/dates/2", TrackingError)


def test_a_system_has_the_name_of_its_model() -> None:
    assert short_name("models:/dates/3") == Checkpoint("models:/dates/3").name == "dates@3"
    assert short_name("models:/dates@best") == "dates@best"
    assert short_name("runs/translation/a-1") == "a-1"
