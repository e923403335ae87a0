"""Process that writes traces of requests to MLflow."""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from lslm_lightning.garbage import collect_rarely
from lslm_lightning.serving.process_life import follow
from lslm_lightning.serving.trace_writer import TraceWriter
from lslm_lightning.serving.traces import RequestTrace

ENVIRONMENT = {
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",  # this process is in the background already
    "MLFLOW_ENABLE_OTLP_EXPORTER": "false",  # traces are for MLflow
    "MLFLOW_TRACE_SAMPLING_RATIO": "1",  # they were chosen already
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


def write_traces(connection: Connection, life: Connection) -> None:
    """Write the traces that arrive on a connection, until it is closed.

    Args:
        connection: receives lists of `RequestTrace`, and sends a `TraceOutcome` for each.
        life: connection whose end means that the other process has gone.
    """
    follow(life)
    collect_rarely()
    logging.disable(logging.CRITICAL)  # errors are told with the outcome
    if hasattr(os, "nice"):
        os.nice(19)  # the models come first
    os.environ.update(ENVIRONMENT)
    writer = TraceWriter()
    with suppress(EOFError, OSError):
        while True:
            batch: Sequence[RequestTrace] = connection.recv()
            connection.send(writer.write_all(batch))
