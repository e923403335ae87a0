"""Start of the process that writes traces, without the imports of MLflow."""

from multiprocessing.connection import Connection


def start_writing(connection: Connection, life: Connection) -> None:
    """Write the traces that arrive; see `write_traces`."""
    from lslm_lightning.serving.trace_process import write_traces

    write_traces(connection, life)
