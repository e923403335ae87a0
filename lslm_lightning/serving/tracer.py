"""Choice of the requests that are traced, and the queue from which a process of its own writes the
traces to MLflow. Neither slows or fails a request.
"""

import asyncio
import atexit
import logging
import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, Full, Queue
from threading import Thread

from lslm_lightning.serving.trace_start import start_writing
from lslm_lightning.serving.traces import RequestTrace, TraceOutcome, TraceSettings
from lslm_lightning.serving.visits import Visit

logger = logging.getLogger(__name__)
MOST_WAITING = 1000  # traces; the next are lost
BATCH = 20  # traces that are written in one go, at most
BATCH_SECONDS = 300.0  # for them, after which the process that writes is given up
RESTART_SECONDS = 10.0  # from the end of that process until it is started again
POLL_SECONDS = 0.5
WRITTEN = "written"
LOST = "lost"


@dataclass(frozen=True)
class TraceWorker:
    """Process that writes traces.

    Args:
        process: the process.
        connection: sends traces, and receives outcomes.
        life: connection whose end tells that process to end.
    """

    process: BaseProcess
    connection: Connection
    life: Connection

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.life.close()


class RequestTracer:
    """Sample of the requests, which are traced in MLflow.

    Args:
        settings: share of the requests, and what to tell of them.
        add: function that counts traces: add("written" or "lost", number); any thread may call it.
        home: function that returns the run directory of the first model, for requests that no model
            answered.
        draw: function that returns a random number from 0 to 1.
    """

    def __init__(
        self,
        settings: TraceSettings,
        add: Callable[[str, int], None],
        home: Callable[[], str] = str,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.add = add
        self.home = home
        self.draw = draw
        self._queue: Queue[RequestTrace] = Queue(MOST_WAITING)
        self._thread: Thread | None = None
        self._worker: TraceWorker | None = None
        self._is_ending = False
        self._is_late = False  # at the end, when nothing is started any more
        self._has_problem = False
        self._started = -RESTART_SECONDS
        # not forked from the process of the engine, whose libraries it does not need
        self._context = multiprocessing.get_context("spawn")

    def start(self) -> None:
        """Start to write traces, if any request is traced."""
        if self.settings.share and self._thread is None:
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
            atexit.register(self._kill)  # before multiprocessing waits for the process

    def sample(self) -> RequestTrace | None:
        """Return the trace of a request that begins; None if it is not traced."""
        if not self.settings.share or self.draw() >= self.settings.share:
            return None
        return RequestTrace(self.settings.texts)

    def end(self, visit: Visit, seconds: float) -> None:
        """Put the trace of a request that has ended into the queue, if it is traced and there is
        room.

        Args:
            seconds: time from its arrival to the end of the response.
        """
        trace = visit.trace
        if trace is None:
            return
        trace.ended = time.time()
        trace.began = trace.ended - seconds
        trace.directory = trace.directory or self.home()
        trace.id = visit.id
        trace.method = visit.method
        trace.route = visit.route
        trace.status = visit.status
        trace.first_seconds = visit.first_seconds
        trace.n_prompt_token = visit.n_prompt_token
        trace.n_token = visit.n_token
        try:
            self._queue.put_nowait(trace)
        except Full:
            self._lose(1, f"{MOST_WAITING:,} traces wait already")

    def _lose(self, n: int, problem: str | None) -> None:
        """Count traces that are lost; tell the first problem since a trace was written."""
        self.add(LOST, n)
        if not self._has_problem:
            self._has_problem = True
            logger.warning("traces are lost, requests are answered as before: %s", problem)

    def _run(self) -> None:
        """Write the traces of the queue until the end."""
        while True:
            batch = self._next_batch()
            if not batch and self._is_ending:
                break
            if batch:
                outcome = self._write(batch)
                if outcome.n_written:
                    self.add(WRITTEN, outcome.n_written)
                    self._has_problem = False
                if outcome.n_lost:
                    self._lose(outcome.n_lost, outcome.problem)
        self._end_worker()

    def _next_batch(self) -> list[RequestTrace]:
        """Return traces of the queue; none if none comes for a while."""
        batch = []
        with suppress(Empty):
            batch.append(self._queue.get(timeout=POLL_SECONDS))
            while len(batch) < BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _write(self, batch: Sequence[RequestTrace]) -> TraceOutcome:
        """Let the process write traces, and return what became of them."""
        problem = "the process that writes them has ended"
        try:
            if self._worker is None and self._may_start:
                self._worker = self._start_worker()
            if self._worker is not None:
                self._worker.connection.send(batch)
                if self._worker.connection.poll(BATCH_SECONDS):
                    outcome: TraceOutcome = self._worker.connection.recv()
                    return outcome
                problem = f"MLflow does not take them in {BATCH_SECONDS:g} s"
        except (OSError, EOFError):
            pass
        except Exception as error:  # whatever it is, requests go on
            problem = f"{type(error).__name__}: {error}"
        self._end_worker()
        return TraceOutcome(0, len(batch), problem)

    @property
    def _may_start(self) -> bool:
        """True if the process that writes traces was not started of late."""
        return not self._is_late and time.monotonic() - self._started >= RESTART_SECONDS

    def _start_worker(self) -> TraceWorker:
        self._started = time.monotonic()
        ours, theirs = self._context.Pipe()
        life, our_life = self._context.Pipe(duplex=False)
        process = self._context.Process(target=start_writing, args=(theirs, life), daemon=True)
        process.start()
        theirs.close()
        life.close()
        return TraceWorker(process, ours, our_life)

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    async def stop(self, seconds: float) -> None:
        """Write what is in the queue, in some seconds at most, and end."""
        if self._thread is None:
            return
        self._is_ending = True
        await asyncio.to_thread(self._thread.join, seconds)
        self._is_late = True
        self._kill()
        atexit.unregister(self._kill)

    def _kill(self) -> None:
        """End the process at once, whatever the thread does that waits for it."""
        worker = self._worker
        if worker is not None:
            worker.process.kill()
