"""Side of the engine that the HTTP process sees: it starts the engine, sends it requests and passes
its events on.
"""

import asyncio
import atexit
import logging
import multiprocessing
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from lslm_lightning.serving.engine_start import start_engine
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    Cancel,
    EngineLoad,
    EngineRequest,
    EngineSettings,
    Event,
    Message,
    Models,
    Refusal,
    ScoredAnswers,
    ScoreRequest,
    ServedModelInfo,
    ServingError,
)

logger = logging.getLogger(__name__)
E = TypeVar("E", bound=Event)
PAUSE_SECONDS = 1.0  # before an engine that could not be started is started again
DOWN = "the engine has ended and is being started again; send the request again in some seconds"


class EngineClient:
    """Engine in a process of its own, which is started again if it ends.

    All methods belong to one event loop.

    Args:
        runs: references of the runs, as in `find_run`.
        settings: settings of the engine.

    Attributes:
        models: description of each model; empty until the engine is ready.
        is_ready: False while the engine starts.
        load: figures of the engine.
        n_restart: number of times that it was started again.
    """

    def __init__(self, runs: Sequence[str], settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self.runs = named(runs, self.settings.names)
        self.models: tuple[ServedModelInfo, ...] = ()
        self.is_ready = False
        self.load = EngineLoad(0, 0, 0, 0)
        self.n_restart = 0
        self._ids = count(1)
        self._queues: dict[int, asyncio.Queue[Event]] = {}
        self._outbox: SimpleQueue[Message | None] | None = None  # None at its end
        self._connection: Connection | None = None
        self._process: BaseProcess | None = None
        self._changed = asyncio.Event()  # ready, or failed
        self._error: ServingError | None = None
        self._is_stopping = False
        # processes are forked from one that has imported torch, which saves seconds at a restart
        self._context = multiprocessing.get_context("forkserver")

    async def start(self) -> None:
        """Start the engine's process, and return at once."""
        self._loop = asyncio.get_running_loop()
        self._context.set_forkserver_preload(["lslm_lightning.serving.preloaded"])
        atexit.register(self._kill)  # before multiprocessing waits for the engine
        self._launch()

    def _kill(self) -> None:
        """End the engine at once."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    def _launch(self) -> None:
        Thread(target=self._supervise, daemon=True).start()

    def _supervise(self) -> None:
        """Start a process, and pass its events to the event loop until it ends."""
        exit_code = None
        try:
            exit_code = self._run_process()
        except Exception:  # it could not be started, or sent what nobody understands
            logger.exception("the engine failed")
        self._call(self._ended, exit_code)

    def _run_process(self) -> int | None:
        """Start a process, and pass its events on until it ends; return its exit status."""
        ours, theirs = self._context.Pipe()
        life, our_life = self._context.Pipe(duplex=False)  # ends with this process
        process = self._context.Process(
            target=start_engine, args=(theirs, life, self.runs, self.settings), daemon=True
        )
        process.start()
        theirs.close()
        life.close()
        self._process = process
        self._call(self._connected, ours)
        with suppress(EOFError, ConnectionResetError, OSError):
            while True:
                self._call(self._receive, ours.recv())
        process.join()
        our_life.close()
        return process.exitcode

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def _connected(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = SimpleQueue()
        # sending may have to wait for the engine, and the event loop must not
        Thread(target=send_all, args=(connection, self._outbox), daemon=True).start()

    def _receive(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Models):
                self.models = event.models
                self.is_ready = True
                self._error = None
                self._changed.set()
            elif isinstance(event, EngineLoad):
                self.load = event
            elif isinstance(event, Refusal) and event.id == 0:  # a run cannot be loaded
                self._error = ServingError(event.message, event.kind)
                self._changed.set()
            elif (queue := self._queues.get(event.id)) is not None:
                queue.put_nowait(event)

    def _ended(self, exit_code: int | None) -> None:
        """Refuse what the engine had begun, and start it again."""
        was_ready = self.is_ready
        self.is_ready = False
        self._connection = None
        if self._outbox is not None:
            self._outbox.put(None)
        self.load = EngineLoad(0, 0, 0, 0)
        for id, queue in self._queues.items():
            queue.put_nowait(Refusal(id, DOWN, "unavailable"))
        if self._is_stopping or (not was_ready and self.n_restart == 0):
            self._changed.set()
            return
        logger.error("the engine ended with exit status %s; it is started again", exit_code)
        self.n_restart += 1
        self._loop.call_later(0 if was_ready else PAUSE_SECONDS, self._launch)

    async def wait_ready(self) -> None:
        """Wait until the engine is ready.

        Raises:
            ServingError: a run cannot be loaded, or the engine ended.
        """
        while not self.is_ready:
            await self._changed.wait()
            self._changed.clear()
            if self._error is not None:
                raise self._error
            if not self.is_ready and self._connection is None and self.n_restart == 0:
                raise ServingError("the engine ended before it was ready", "unavailable")

    def new_id(self) -> int:
        """Return a number for the next request."""
        return next(self._ids)

    def _send(self, message: Message) -> None:
        if not self.is_ready or self._outbox is None:
            raise ServingError(DOWN, "unavailable")
        self._outbox.put(message)

    async def _events(self, request: EngineRequest) -> AsyncGenerator[Event]:
        """Yield the events of a request. If the generator is closed, the request is dropped."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._queues[request.id] = queue
        is_over = False
        try:
            assert isinstance(request, AnswerRequest | ScoreRequest)
            self._send(request)
            while not is_over:
                event = await queue.get()
                is_over = not isinstance(event, AnswerPart)
                if isinstance(event, Refusal):
                    raise ServingError(event.message, event.kind, event.parameter)
                yield event
        finally:
            del self._queues[request.id]
            if not is_over:
                with suppress(ServingError):
                    self._send(Cancel(request.id))

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[AnswerPart | Answered]:
        """Yield the parts of the answers to a request that streams, and the whole at the end. If
        the generator is closed, the request is dropped.

        Raises:
            ServingError: the request cannot be answered.
        """
        events = self._events(request)
        try:
            async for event in events:
                assert isinstance(event, AnswerPart | Answered)
                yield event
        finally:
            await events.aclose()

    async def answer(self, request: AnswerRequest) -> Answered:
        """Return the answers to a request. If the task is cancelled, the request is dropped.

        Raises:
            ServingError: the request cannot be answered.
        """
        return await self._last(request, Answered)

    async def score(self, request: ScoreRequest) -> ScoredAnswers:
        """Return the log probabilities that a request asks for.

        Raises:
            ServingError: the request cannot be answered.
        """
        return await self._last(request, ScoredAnswers)

    async def _last(self, request: EngineRequest, kind: type[E]) -> E:
        events = self._events(request)
        try:
            async for event in events:
                if isinstance(event, kind):
                    return event
        finally:
            await events.aclose()
        raise ServingError("the engine gave no answer", "internal")

    async def stop(self, seconds: float) -> None:
        """Wait until what runs is answered, at most some seconds, and end the engine."""
        self._is_stopping = True
        end = asyncio.get_running_loop().time() + seconds
        while self._queues and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        if self._connection is not None:
            self._connection.close()
        self._kill()
        atexit.unregister(self._kill)


def send_all(connection: Connection, outbox: "SimpleQueue[Message | None]") -> None:
    """Send messages until there comes None, or the connection is closed."""
    with suppress(OSError, ValueError):
        while (message := outbox.get()) is not None:
            connection.send(message)


def named(runs: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return pairs of name and reference.

    Args:
        runs: references of runs.
        names: their names; by default the last part of each reference.

    Raises:
        ServingError: two have one name, or the numbers differ.
    """
    if names and len(names) != len(runs):
        raise ServingError(
            f"names has {len(names)} entries for {len(runs)} runs; give one for each"
        )
    found = tuple(names) or tuple(default_name(run) for run in runs)
    if twice := sorted({name for name in found if name and found.count(name) > 1}):
        raise ServingError(f"two runs have the name {twice[0]!r}; give names with --name")
    return tuple(zip(found, runs, strict=True))


def default_name(run: str) -> str:
    """Return the name of a run in requests: that of the registered model, or of the folder. A
    pattern is named by the engine, which finds its run; its name is "" until then.
    """
    if any(letter in run for letter in "*?["):
        return ""
    name = run.removeprefix("models:/").rstrip("/")
    return name if run.startswith("models:/") else name.rpartition("/")[2] or run
