"""`lslm ui`: MLflow's own web pages on this project's runs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import RawDescriptionHelpFormatter
from typing import NoReturn
from urllib.request import urlopen

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.process import KILL, signal_group
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.lost import end_lost_runs
from lslm_lightning.tracking.store import CREDENTIALS

DESCRIPTION = """Open MLflow's web pages on the runs of this folder, or of MLFLOW_TRACKING_URI. Ctrl-C ends it.

  lslm ui
  lslm ui --port 5001"""
SILENCE = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def main(argv: list[str]) -> int:
    """Serve until interrupted. Where runs are stored on a server, only say its address."""
    parser = Parser(prog="lslm ui", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5000, metavar="N", help="of the pages (default 5000)")
    host = "who may come in: 127.0.0.1 (default) is only you; whoever comes in may delete runs"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    options = parser.parse_args(argv[1:])
    store = Store()
    if store.is_server:
        print(f"The runs are on a server that has its own pages: {store}")
        return 0
    if store.file and not store.file.exists():
        raise ValueError(f"there are no runs here: {store.file} does not exist; run this in the folder where you trained")
    check_port(options.host, options.port)
    client = store.client()
    everywhere = [experiment.experiment_id for experiment in store.ask(client.search_experiments)]  # one line, where it is no store
    store.ask(lambda: end_lost_runs(client, everywhere))
    return serve(store, options.host, options.port)


def check_port(host: str, port: int) -> None:
    """Raise ValueError unless a server can listen there."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {host}, port {port}: {error}; try --port {port + 1 if port < 65535 else 5000}") from None


def serve(store: Store, host: str, port: int) -> NoReturn:
    """Run MLflow's server on the store and print its address when it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(store.artifacts), "--uvicorn-opts", "--log-level warning"]
    inherited = {name: value for name, value in os.environ.items() if name not in CREDENTIALS}  # of no use to a server here
    environment = {**inherited, **SILENCE, "MLFLOW_BACKEND_STORE_URI": store.uri}  # not as an argument: it may hold a password
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryFile("w+") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            print(f"Opening {store} ...", flush=True)
            wait_until_up(f"http://{host}:{port}", server)
            if server.poll() is None:
                print(f"MLflow is at http://{host}:{port}   (Ctrl-C ends it)", flush=True)
            server.wait()
        finally:
            stop(server)
        output.seek(0)
        lines = output.read().strip().splitlines() or ["no reason given"]
    reason = next((line for line in reversed(lines) if "Error" in line), lines[-1])
    raise ValueError(f"MLflow's server ended: {store.redact(reason)}")


def wait_until_up(address: str, server: subprocess.Popen) -> None:
    """Return when the server answers, or has ended."""
    while server.poll() is None:
        try:
            with urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)


def stop(server: subprocess.Popen) -> None:
    """End the server and the processes it started."""
    if server.poll() is None:
        signal_group(server, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            signal_group(server, KILL)
