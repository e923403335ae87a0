"""Start of the engine's process, without the imports of an engine."""

from collections.abc import Sequence
from multiprocessing.connection import Connection

from lslm_lightning.serving.protocol import EngineSettings


def start_engine(
    connection: Connection,
    life: Connection,
    runs: Sequence[tuple[str, str]],
    settings: EngineSettings,
) -> None:
    """Run an engine; see `run_engine`."""
    from lslm_lightning.serving.engine_process import run_engine

    run_engine(connection, life, runs, settings)
