"""Detection of runs whose process ended without setting a status, as after SIGKILL, lack of memory
or a power cut.
"""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from lslm_lightning.run_files import CURVES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 100


def process_tags() -> dict[str, str]:
    """Return tags that identify this process: host name, process id and start time.

    The start time distinguishes processes with the same id.
    """
    return {
        "lslm.host": socket.gethostname(),
        "lslm.pid": str(os.getpid()),
        "lslm.started": f"{psutil.Process().create_time():.2f}",
    }


def is_lost(run: "Run") -> bool:
    """Return whether a run has the status RUNNING although its process, which ran on this machine,
    has ended.
    """
    tags = run.data.tags
    if (
        run.info.status != "RUNNING"
        or tags.get("lslm.host") != socket.gethostname()
        or "lslm.started" not in tags
    ):
        return False
    try:
        process = psutil.Process(int(tags["lslm.pid"]))
        return (
            process.status() == psutil.STATUS_ZOMBIE
            or abs(process.create_time() - float(tags["lslm.started"])) > 1.0
        )
    except (psutil.Error, ValueError):
        return True


def end_lost_runs(client: "MlflowClient", experiments: Sequence[str]) -> list[str]:
    """Set the status of lost runs to KILLED, and return the names of these runs.

    A run ends at the time of its last logged metric.

    Args:
        experiments: ids of the experiments to search.
    """
    query = f"attributes.status = 'RUNNING' and tags.`lslm.host` = '{socket.gethostname()}'"
    lost = [
        run
        for run in client.search_runs(list(experiments), query, max_results=PAGE)
        if is_lost(run)
    ]
    for run in lost:
        curves = Path(run.data.tags.get("lslm.directory", "/")) / CURVES
        ended = curves.stat().st_mtime if curves.exists() else time.time()
        client.set_terminated(run.info.run_id, "KILLED", round(ended * 1000))
    return [run.info.run_name for run in lost]
