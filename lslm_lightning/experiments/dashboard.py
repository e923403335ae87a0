"""MLflow web interface for the runs of a tracking store."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn
from urllib.request import urlopen

from lslm_lightning.experiments.child_process import KILL, signal_group
from lslm_lightning.localization import REPORTS, padded, translated
from lslm_lightning.tracking import Store, TrackingError
from lslm_lightning.tracking.store import CREDENTIALS
from lslm_lightning.tracking.views import TAG, links, publish

if TYPE_CHECKING:
    from mlflow import MlflowClient

SILENCE = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def published(store: Store, client: "MlflowClient") -> dict[str, str]:
    """Write a saved view (settings of MLflow's table and charts that a link opens) for each MLflow
    experiment that has runs of this project.

    Returns:
        Ids of these experiments, by name.

    Raises:
        TrackingError: the tracking store does not answer.
    """
    found = {}
    for experiment in store.request(client.search_experiments):
        number = experiment.experiment_id
        if experiment.tags.get(TAG) or store.request(partial(has_runs, client, number)):
            with suppress(TrackingError):  # a store in which this user may only read
                store.request(partial(publish, client, number))
            found[experiment.name] = number
    return found


def has_runs(client: "MlflowClient", experiment_id: str) -> bool:
    """Return whether an MLflow experiment contains a run of this project.

    Args:
        client: client of the tracking store.
        experiment_id: id of the experiment.
    """
    return bool(client.search_runs([experiment_id], "tags.`lslm.directory` != ''", max_results=1))


def show_links(address: str, experiments: Mapping[str, str], is_opened: bool) -> None:
    """Print links to the saved views and the models of experiments.

    Args:
        address: URL of the MLflow server.
        experiments: id of each experiment, by name.
        is_opened: open the first link in a web browser.
    """
    addresses = [address]
    for name, number in experiments.items():
        print(f"{name}:", flush=True)
        for what, page in links(number).items():
            addresses.append(f"{address}/{page}")
            print(f"  {padded(translated(what, REPORTS), 12)}  {addresses[-1]}", flush=True)
    if is_opened:
        webbrowser.open(addresses[:2][-1])


def check_port(host: str, port: int) -> None:
    """Raise ValueError unless a server can listen on this host and port."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen on {host}, port {port}: {error}; try --port "
            f"{port + 1 if port < 65535 else 5000}"
        ) from None


def serve(store: Store, host: str, port: int, announce: Callable[[str], object]) -> NoReturn:
    """Run the MLflow server for a tracking store; this function does not return.

    Args:
        announce: called with the address of the server as soon as the server answers.
    """
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--artifacts-destination",
        str(store.artifacts),
        "--uvicorn-opts",
        "--log-level warning",
    ]
    # of no use to a server here
    inherited = {name: value for name, value in os.environ.items() if name not in CREDENTIALS}
    # not as an argument: it may hold a password
    environment = {**inherited, **SILENCE, "MLFLOW_BACKEND_STORE_URI": store.uri}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryFile("w+") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            print(f"Opening {store} ...", flush=True)
            wait_until_up(f"http://{host}:{port}", server)
            if server.poll() is None:
                print(f"MLflow is at http://{host}:{port}   (Ctrl-C ends it)", flush=True)
                announce(f"http://{host}:{port}")
            server.wait()
        finally:
            stop(server)
        output.seek(0)
        lines = output.read().strip().splitlines() or ["no reason given"]
    reason = next((line for line in reversed(lines) if "Error" in line), lines[-1])
    raise ValueError(f"MLflow's server ended: {store.redact(reason)}")


def wait_until_up(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server at `address` answers, or until its process has ended."""
    while server.poll() is None:
        try:
            with urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Terminate the server process and the processes that it started."""
    if server.poll() is None:
        signal_group(server, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            signal_group(server, KILL)
