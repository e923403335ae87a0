"""Process that writes traces at the priority of the tests."""

import os
from multiprocessing.connection import Connection

from lslm_lightning.serving.trace_start import start_writing


def start_promptly(connection: Connection, life: Connection) -> None:
    """Write the traces that arrive, as `start_writing` does. At the lowest priority, which it asks
    for, it gets no processor for minutes where tests use all of them.
    """
    os.nice = lambda increment: 0  # type: ignore[assignment]  # of this process alone
    start_writing(connection, life)
