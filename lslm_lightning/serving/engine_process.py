"""Process in which the engine of a server runs."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from threading import Thread
from time import monotonic

from lslm_lightning.runs.registered import is_registered
from lslm_lightning.serving.engine import Engine, load_model
from lslm_lightning.serving.protocol import EngineSettings, Event, Message, Models, Refusal
from lslm_lightning.serving.served_model import ServedModel, one_line
from lslm_lightning.training.cores import available_cores, limit_threads

logger = logging.getLogger(__name__)
LOAD_SECONDS = 1.0  # between two figures of the load
ALIAS_SECONDS = 10.0  # between two looks at the version of an alias


def run_engine(
    connection: Connection, runs: Sequence[tuple[str, str]], settings: EngineSettings
) -> None:
    """Answer the requests that arrive on a connection, until it is closed.

    Args:
        connection: receives messages, and sends lists of events.
        runs: name and reference of each run.
        settings: settings of the engine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process ends this one
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import torch

    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    torch.set_num_threads(settings.n_thread or available_cores())
    try:
        engine = Engine([load_model(name, run, settings) for name, run in runs])
    except (ValueError, OSError, RuntimeError) as error:
        connection.send([Refusal(0, one_line(error), "invalid")])
        return
    connection.send([Models(engine.infos)])
    EngineLoop(connection, engine, runs, settings).run()


class EngineLoop:
    """Loop of the engine's process: reads messages, works, and sends events.

    Args:
        connection: receives messages, and sends lists of events.
        engine: the engine.
        runs: name and reference of each run.
        settings: settings of the engine.
    """

    def __init__(
        self,
        connection: Connection,
        engine: Engine,
        runs: Sequence[tuple[str, str]],
        settings: EngineSettings,
    ) -> None:
        self.connection = connection
        self.engine = engine
        self._new: list[ServedModel] = []  # loaded by the thread
        aliases = [(name, run) for name, run in runs if is_registered(run)]
        if aliases:
            watch = (aliases, settings, self._new.append)
            Thread(target=watch_aliases, args=watch, daemon=True).start()
        self._waits = ALIAS_SECONDS if aliases else None

    def run(self) -> None:
        """Work until the connection is closed."""
        told = monotonic()
        while True:
            events: list[Event] = []
            try:
                waits = 0.0 if self.engine.is_busy else self._waits
                while self.connection.poll(waits):
                    message: Message = self.connection.recv()
                    events += self.engine.take(message)
                    waits = 0.0
                while self._new:
                    events.append(self.engine.replace(self._new.pop()))
                events += self.engine.work()
                if monotonic() - told >= LOAD_SECONDS or not self.engine.is_busy:
                    events.append(self.engine.load)
                    told = monotonic()
                if events:
                    self.connection.send(events)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return


def watch_aliases(
    aliases: Sequence[tuple[str, str]],
    settings: EngineSettings,
    announce: Callable[[ServedModel], object],
) -> None:
    """Load the model of a registered name again when its alias or its newest version moves.

    Args:
        aliases: name and reference of each run.
        settings: settings of the engine.
        announce: called with each model that was loaded.
    """
    from time import sleep

    from lslm_lightning.runs import find_run

    known = {name: str(find_run(run).checkpoint) for name, run in aliases}
    while True:
        sleep(ALIAS_SECONDS)
        for name, run in aliases:
            try:
                checkpoint = str(find_run(run).checkpoint)
                if checkpoint != known[name]:
                    announce(load_model(name, run, settings))
                    known[name] = checkpoint
            except (ValueError, OSError, RuntimeError) as error:
                logger.warning("%s is not read again: %s", run, one_line(error))
