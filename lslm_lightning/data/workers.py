"""Work shared among processes, which end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Result = TypeVar("Result")


def shared_out(
    work: Callable[..., Result],
    parts: Iterable[tuple[Any, ...]],
    n_worker: int,
    start: Callable[..., None] | None = None,
    *given: Any,
) -> Iterator[Result]:
    """`work(*part)` of each part, in order, by `n_worker` processes; at most one part more than
    there are workers is under way.

    Where that is interrupted, what is under way counts for nothing.

    Args:
        work: a function of a module.
        start: called with `given` in every worker before it works.
    """
    under_way: deque[Future] = deque()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        n_worker, multiprocessing.get_context("spawn"), _start, (start, given)
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


def _start(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core a worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it stops it
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    if start is not None:
        start(*given)


def _end_with(parent: BaseProcess) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent.join()
    os._exit(1)
