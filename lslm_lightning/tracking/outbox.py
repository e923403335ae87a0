"""Queue of data for the tracking store, sent by a background thread so that training never
waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from lslm_lightning.tracking.curves import Point

T = TypeVar("T")

BATCH = 1000  # MLflow takes no more points in one request
N_TRY = 3


def send_in_parts(
    send: Callable[[Sequence[T]], object],
    items: Sequence[T],
    is_passing: Callable[[Exception], bool],
) -> None:
    """Send items in one call, or in smaller parts if the store refuses some of the items.

    The items are halved repeatedly, so that one bad item does not prevent the others from being
    sent.

    Args:
        is_passing: returns whether an error is temporary.

    Raises:
        Exception: the store is unavailable, or an item was refused; in the second case, all other
            items have been sent.
    """
    parts = [items]
    refusal: Exception | None = None
    n_refused = 0  # since something was sent
    while parts:
        part = parts.pop()
        try:
            send(part)
            n_refused = 0
        except Exception as error:
            if is_passing(error):
                raise
            n_refused += 1
            if n_refused > 2 * len(items).bit_length() + 4:  # it refuses everything, not an item
                raise
            if len(part) > 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                refusal = error
    if refusal is not None:
        raise refusal


class Outbox:
    """Queue of metric points and calls, which a background thread sends in order, points in
    batches.

    If the store is unavailable, the thread tries again at growing intervals. Data that the store
    refuses is dropped. Neither case raises an error: `tell` receives one line on the first failure
    of either kind, on recovery, and finally on data that could not be sent.

    Args:
        send: stores a batch of points. Sending a point twice, or repeating a call, must be
            harmless.
        is_passing: returns whether an error is temporary.
        tell: receives a line for the user.
        explain: returns the message of an error without secrets.
        interval: seconds for which points are collected into a batch.
        patience: seconds for which `close` keeps trying.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Point]], object],
        is_passing: Callable[[Exception], bool],
        tell: Callable[[str], object],
        explain: Callable[[Exception], str] = str,
        interval: float = 2.0,
        patience: float = 10.0,
    ) -> None:
        self._send = send
        self._is_passing = is_passing
        self._tell = tell
        self._explain = explain
        self._interval = interval
        self._patience = patience
        self._points: deque[Point] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._wake = threading.Event()
        self._round = threading.Condition()
        self._begun = self._ended = 0  # rounds of delivery
        self._delivered = self._away = self._refused = self._closed = False
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def put(self, points: Iterable[Point]) -> None:
        self._points.extend(points)

    def call(self, function: Callable[..., object], *arguments: object, **settings: object) -> None:
        self._calls.append(partial(function, *arguments, **settings))

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything queued so far is sent, an attempt fails, or `seconds` have passed.

        Returns:
            Whether everything was sent.
        """
        with self._round:
            begun = self._begun
            self._wake.set()
            came = self._round.wait_for(
                lambda: not self._waiting() or self._ended > begun or self._closed, seconds
            )
            return not self._waiting() or (came and self._delivered)

    def close(self, last: Callable[[], object], seconds: float | None = None) -> None:
        """Send everything in the queue, then call `last` and end the thread.

        If the store is unavailable, `tell` receives a line on what could not be sent.

        Args:
            seconds: time limit; by default, give up after `N_TRY` attempts and `patience` seconds.
        """
        give_up = time.monotonic() + (self._patience if seconds is None else seconds)
        n_try = 1
        while not (delivered := self.flush(seconds)) and (
            time.monotonic() < give_up or (seconds is None and n_try < N_TRY)
        ):
            time.sleep(min(1.0, self._patience / 10))
            n_try += 1
        self._closed = True
        self._wake.set()
        delivered = (delivered or seconds is None) and self._try(last)
        if self._waiting() or not delivered:
            self._tell(
                f"not stored: {len(self._points)} metric points, "
                f"{len(self._calls) + (not delivered)} other things"
            )

    def _waiting(self) -> bool:
        return bool(self._points or self._calls)

    def _work(self) -> None:
        pause = self._interval
        while not self._closed:
            self._wake.wait(pause)
            self._wake.clear()
            with self._round:
                self._begun += 1
            delivered = self._deliver(len(self._points), len(self._calls))
            pause = self._interval if delivered else min(2 * pause, 30.0)
            with self._round:
                self._ended += 1
                self._delivered = delivered
                self._round.notify_all()

    def _deliver(self, n_point: int, n_call: int) -> bool:
        """Send the oldest `n_point` points and `n_call` calls; return False if the store is
        unavailable.
        """
        while n_point and not self._closed:
            batch = [self._points[i] for i in range(min(BATCH, n_point))]
            if not self._try(partial(self._send, batch)):
                return False
            for _ in batch:
                self._points.popleft()
            n_point -= len(batch)
        for _ in range(n_call):
            if self._closed or not self._try(self._calls[0]):
                return False
            self._calls.popleft()
        return True

    def _try(self, act: Callable[[], object]) -> bool:
        """Call `act`; return False if it failed but may succeed later.

        The result is True after success and also after a refusal by the store.
        """
        try:
            act()
        except Exception as error:
            if self._is_passing(error):
                if not self._away:
                    self._away = True
                    self._tell(
                        f"does not answer ({self._explain(error)}); data is queued and sent later"
                    )
                return False
            if not self._refused:
                self._refused = True
                self._tell(f"refused an item, which is skipped: {self._explain(error)}")
            return True
        if self._away:
            self._away = False
            self._tell("answers again")
        return True
