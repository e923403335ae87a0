"""Pool of worker processes that exit when their parent process ends."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def run_parallel(
    work: Callable[[*Arguments], Result],
    parts: Iterable[tuple[*Arguments]],
    n_worker: int,
    start: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield `work(*part)` for each part, in order, computed by `n_worker` processes.

    At most `n_worker` + 1 parts are submitted at a time. An interruption terminates the workers,
    and the unfinished parts are lost.

    Args:
        work: function defined at the top level of a module, so that it can be pickled.
        parts: tuples of arguments for `work`.
        start: picklable function that each worker calls once before its first part.
    """
    under_way: deque[Future[Result]] = deque()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        n_worker, multiprocessing.get_context("spawn"), _start, (start,)
    ) as pool:
        try:
            for part in parts:
                under_way.append(pool.submit(work, *part))
                if len(under_way) > n_worker:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


def _start(start: Callable[[], None] | None) -> None:
    """Initialize a worker process: limit its threads, ignore interrupts, watch the parent, call
    `start`.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core a worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it stops it
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if start is not None:
        start()


def _end_with(parent: BaseProcess) -> None:
    """Exit this process when its parent ends, since it would otherwise wait for work forever."""
    parent.join()
    os._exit(1)
