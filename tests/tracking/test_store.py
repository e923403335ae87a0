"""A store that cannot be used is refused in one line, within seconds, without its password."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow  # noqa: F401 - takes seconds, which are not those measured here
import pytest
import requests

from lslm_lightning.tracking import Store, TrackingError
from tests.support.forked_commands import Origin
from tests.support.waiting import PATIENCE, at_most


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a web server that is not MLflow's."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as web:
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        yield web.server_port
        web.shutdown()


def refusal(uri: str) -> str:
    """The error for an address, which must come in seconds and fit in a line."""
    with at_most(8), pytest.raises(TrackingError) as caught:
        Store(uri).open_experiment("toy")
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_nobody_listens(project: Path) -> None:
    with socket.socket() as deaf:  # has a port and does not listen
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        text = refusal(f"http://me:top-secret@127.0.0.1:{port}")
    assert "refused" in text
    assert "top-secret" not in text
    assert f"***@127.0.0.1:{port}" in text


@pytest.mark.slow
def test_nobody_answers(project: Path, silent: int) -> None:
    text = refusal(f"http://me:top%2Dsecret@127.0.0.1:{silent}")
    assert "top" not in text
    assert "time" in text or "no answer" in text


def test_another_kind_of_server(project: Path, stranger: int) -> None:
    assert "MLflow at" in refusal(f"http://127.0.0.1:{stranger}")


@pytest.mark.parametrize(
    "uri",
    [
        "htp://127.0.0.1:5000",
        "localhost:5000",
        "./mlruns",
        "postgresql://me:top-secret@127.0.0.1:1/x?password=also",
    ],
)
def test_an_address_that_is_none(project: Path, uri: str) -> None:
    text = refusal(uri)
    assert "http://host:5000" in text
    assert "secret" not in text
    assert "also" not in text


def test_files_that_cannot_be_a_store(project: Path) -> None:
    (project / "text.db").write_text("I am no database, and long enough to be sure of it. " * 100)
    (project / "folder.db").mkdir()
    assert "not a database" in refusal(f"sqlite:///{project}/text.db")
    assert "unable to open" in refusal(f"sqlite:///{project}/folder.db")
    assert "cannot use" in refusal(f"sqlite:///{project}/text.db/mlflow.db")


def test_a_folder_that_cannot_be_written(project: Path) -> None:
    """By anyone but root, or not even by root."""
    (project / "locked").mkdir(mode=0o500)
    folder = "/sys" if os.geteuid() == 0 else f"{project}/locked"
    assert "cannot use" in refusal(f"sqlite:///{folder}/mlflow.db")


def test_a_deleted_experiment_says_how_to_get_it_back(store: Path) -> None:
    client, experiment = Store().open_experiment("toy")
    client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {experiment}"):
        Store().open_experiment("toy")


def test_where_things_are(project: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment = Store().open_experiment("toy")
    assert (project / "mlflow.db").exists()
    assert client.get_experiment(experiment).artifact_location == str(
        project / "mlartifacts" / "toy"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:1/path")
    assert str(Store()) == "http://***@host:1/path"
    assert Store().artifacts is None
    assert str(Store(f"sqlite:///{project}/a@b.db")) == f"sqlite:///{project}/a@b.db"


def test_secrets_are_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    store = Store("https://user:p%40ss@host/")
    text = store.redact(
        "https://user:p%40ss@host/ user:p%40ss p@ss t0ken http://other:pair@elsewhere/x"
    )
    assert "p@ss" not in text
    assert "p%40ss" not in text
    assert "t0ken" not in text
    assert "pair" not in text
    assert "elsewhere/x" in text


@pytest.mark.parametrize(
    ("status", "passes"),
    [(403, False), (404, False), (413, False), (429, True), (500, True), (503, True)],
)
def test_only_what_may_pass_is_tried_again(status: int, passes: bool) -> None:
    response = requests.Response()
    response.status_code = status
    assert Store().is_passing(requests.HTTPError(response=response)) is passes


@pytest.mark.slow
def test_processes_that_start_together_share_one_new_store(project: Path, origin: Origin) -> None:
    script = project / "track.py"
    script.write_text(
        "from lslm_lightning.tracking import Store; c, e = Store().open_experiment('toy'); "
        "print(e, c.create_run(e).info.run_id)"
    )
    processes = [origin.fork([], os.environ, project, script=script) for _ in range(2)]
    answers = [process.communicate(PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert [len(answer.split()) for answer in answers] == [2, 2], "MLflow and alembic are quiet"
    experiments, runs = zip(*(answer.split() for answer in answers))
    assert len(set(experiments)) == 1
    assert len(set(runs)) == 2


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../x", "..", r"..\x"])
def test_an_experiment_of_that_name_makes_no_folder_elsewhere(name: str, tmp_path: Path) -> None:
    """Where mlflow.json of a run says it, `lslm sync` would make it."""
    with pytest.raises(TrackingError, match="must be a name inside"):
        Store(f"sqlite:///{tmp_path}/a/b/mlflow.db").open_experiment(name)
    assert not list(tmp_path.iterdir())
