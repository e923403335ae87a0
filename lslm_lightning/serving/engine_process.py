"""Process in which the engine of a server runs."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from time import monotonic, sleep

from lslm_lightning.runs import find_run
from lslm_lightning.runs.registered import is_registered
from lslm_lightning.serving.engine import EngineCore, load_model
from lslm_lightning.serving.idle_memory import IDLE_SECONDS, give_back_memory
from lslm_lightning.serving.process_life import follow
from lslm_lightning.serving.protocol import EngineSettings, Event, Message, Models, Refusal
from lslm_lightning.serving.served_model import ServedModel, one_line
from lslm_lightning.training.cores import available_cores, limit_threads

logger = logging.getLogger(__name__)
LOAD_SECONDS = 1.0  # between two figures of the load
ALIAS_SECONDS = 10.0  # between two looks at the version of an alias


def run_engine(
    connection: Connection,
    life: Connection,
    runs: Sequence[tuple[str, str]],
    settings: EngineSettings,
) -> None:
    """Answer the requests that arrive on a connection, until it is closed.

    Args:
        connection: receives messages, and sends lists of events.
        life: connection whose end means that the other process has gone.
        runs: name and reference of each run.
        settings: settings of the engine.
    """
    follow(life)
    import torch

    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    torch.set_num_threads(settings.n_thread or available_cores())
    with suppress(OSError):  # the other process has gone
        try:
            # before the weights are read, so that no move is overlooked
            watch = AliasWatch([(n, run) for n, run in runs if is_registered(run)], settings)
            engine = EngineCore([load_model(name, run, settings) for name, run in runs])
        except Exception as error:
            connection.send([Refusal(0, one_line(error), "invalid")])
            return
        connection.send([Models(engine.infos)])
        EngineLoop(connection, engine, watch).run()


class EngineLoop:
    """Loop of the engine's process: reads messages, works, and sends events.

    Args:
        connection: receives messages, and sends lists of events.
        engine: the engine.
        watch: names that may move.
    """

    def __init__(self, connection: Connection, engine: EngineCore, watch: "AliasWatch") -> None:
        self.connection = connection
        self.engine = engine
        self._new: list[ServedModel] = []  # loaded by the thread
        if watch.aliases:
            Thread(target=watch.run, args=(self._new.append,), daemon=True).start()
        self._waits = ALIAS_SECONDS if watch.aliases else None
        self._holds_memory = True  # that may be free

    def run(self) -> None:
        """Work until the connection is closed."""
        told = monotonic()
        while True:
            events: list[Event] = []
            try:
                waits = 0.0 if self.engine.is_busy else self._waits
                if waits != 0.0 and self._holds_memory and not self.connection.poll(IDLE_SECONDS):
                    give_back_memory()
                    self._holds_memory = False
                while self.connection.poll(waits):
                    message: Message = self.connection.recv()
                    self._holds_memory = True
                    events += self.engine.take(message)
                    waits = 0.0
                while self._new:
                    events.append(self.engine.replace(self._new.pop(0)))
                events += self.engine.work()
                if monotonic() - told >= LOAD_SECONDS or not self.engine.is_busy:
                    events.append(self.engine.load)
                    told = monotonic()
                if events:
                    self.connection.send(events)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return


class AliasWatch:
    """Runs that are registered under an alias, or as the newest version of a name, which may move.

    Args:
        aliases: name and reference of each run.
        settings: settings of the engine.
    """

    def __init__(self, aliases: Sequence[tuple[str, str]], settings: EngineSettings) -> None:
        self.aliases = aliases
        self.settings = settings
        self._known = {name: weights_of(run) for name, run in aliases}

    def moved(self) -> Iterator[ServedModel]:
        """Yield the models of the names that stand for other weights than before, loaded again."""
        for name, run in self.aliases:
            try:
                weights = weights_of(run)
                if weights != self._known[name]:
                    yield load_model(name, run, self.settings)
                    self._known[name] = weights
            except Exception as error:  # whatever it is, the next look may succeed
                logger.warning("%s is not read again: %s", run, one_line(error))

    def run(self, announce: Callable[[ServedModel], object]) -> None:
        """Call `announce` with each model that has moved, for ever."""
        while True:
            sleep(ALIAS_SECONDS)
            for model in self.moved():
                announce(model)


def weights_of(run: str) -> tuple[str, int, int]:
    """Return the path, time and size of the weights that a reference stands for."""
    path = find_run(run).checkpoint
    facts = path.stat()
    return str(path), facts.st_mtime_ns, facts.st_size
