"""A real MLflow server."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.support.waiting import PATIENCE

EPHEMERAL = range(32768, 65536)  # given to any connection of any process, at any moment


def free_port() -> int:
    """Return a port that nobody listens on and that no connection gets by chance before it is
    used.
    """
    chance = random.SystemRandom()  # tests seed the other one, and workers would choose alike
    while True:
        port = chance.randrange(20_000, EPHEMERAL.start)
        try:
            with socket.create_server(("127.0.0.1", port), reuse_port=False):
                return port
        except OSError:
            continue


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """The address of a server with a store and an artifact folder of its own, in `folder`; all of
    it is killed at the end.
    """
    port = port or free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()
