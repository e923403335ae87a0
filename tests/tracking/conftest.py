"""A real MLflow server, started once."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from lslm_lightning.tracking import Store


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with a store and an artifact folder of its own."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with tables and nothing in them; they take seconds to make."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{file}").client()
    return file


@pytest.fixture
def store(project: Path, new_store: Path) -> Path:
    """The project's own store, as yet empty."""
    return Path(shutil.copy(new_store, project))


@pytest.fixture(params=["sqlite", "server"])
def address(request: pytest.FixtureRequest) -> str:
    """Both kinds of store."""
    return f"sqlite:///{request.getfixturevalue('store')}" if request.param == "sqlite" else request.getfixturevalue("server")


@pytest.fixture
def run_directory(project: Path) -> Path:
    folder = project / "runs" / "toy" / "first-1a2b"
    folder.mkdir(parents=True)
    return folder
