"""`lslm ui`: MLflow's pages come up on the project's store, and go away with all their
processes.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from lslm_lightning.commands.ui import main
from lslm_lightning.experiments.leaderboard import leaderboard
from lslm_lightning.runs import find_run
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.lost import process_tags
from tests.support.mlflow_server import free_port
from tests.support.waiting import PATIENCE

COMMAND = [sys.executable, "-m", "lslm_lightning", "ui"]


@pytest.mark.slow
def test_it_says_its_address_serves_and_ends_with_ctrl_c(project: Path, empty_store: Path) -> None:
    """No run is shown as running whose process is gone."""
    shutil.copy(empty_store, project)
    client, experiment = Store().open_experiment("toy")
    here = process_tags()
    gone = process_tags() | {"lslm.started": "1.00"}
    there, run_id = (client.create_run(experiment, tags=tags).info.run_id for tags in (here, gone))
    address = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [*COMMAND, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert address in lines[1], process.stderr.read() if process.poll() else lines
        answer = json.load(urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run_id}"))
        assert answer["run"]["info"]["run_id"] == run_id
        assert answer["run"]["info"]["status"] == "KILLED"
        assert client.get_run(there).info.status == "RUNNING"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{address}/health")


def test_a_server_has_its_own_pages(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:top-secret@example.org/mlflow")
    assert main(["ui"]) == 0
    said = capsys.readouterr().out
    assert "example.org/mlflow" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "read",
    [
        lambda: main(["ui"]),
        lambda: leaderboard("language_modeling"),
        lambda: find_run("0123abcd"),
    ],
)
def test_what_reads_runs_makes_no_store(read: Callable[[], object], project: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no runs here: .*mlflow\.db"):
        read()
    assert not list(project.iterdir())


def test_a_port_in_use_is_refused_with_another(project: Path) -> None:
    Path("mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port}.*try --port {port + 1}"):
            main(["ui", "--port", str(port)])
    with pytest.raises(ValueError, match="port 70000"):
        main(["ui", "--port", "70000"])


@pytest.mark.slow
def test_a_store_that_mlflow_cannot_read_ends_it_with_the_reason(project: Path) -> None:
    Path("mlflow.db").write_text("I am no database. " * 1000)
    process = subprocess.run(
        [*COMMAND, "--port", str(free_port())], capture_output=True, text=True, timeout=PATIENCE
    )
    assert process.returncode == 1
    assert "not a database" in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], 0), (["--port", "x"], 2), (["--prot", "1"], 2)]
)
def test_arguments_are_judged_without_torch_or_mlflow(words: list[str], status: int) -> None:
    code = f"""
import sys
from lslm_lightning.__main__ import main
status = main(["ui", *{words}])
assert not {{"torch", "lightning", "mlflow"}} & sys.modules.keys()
sys.exit(status)
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.returncode == status, process.stderr
