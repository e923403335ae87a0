"""Admission of requests: how many there are, and how fast they come."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from lslm_lightning.serving.errors import ApiError, beyond_limit
from lslm_lightning.serving.limits import ServingLimits

MOST_CALLERS = 10_000  # whose rate is known; those that were silent longest are forgotten
OPEN_PER_REQUEST = 4  # requests without a known key, for each that may be answered
BODIES_PER_ADDRESS = 16  # of them, whose key is to come in the body
PAUSE = 1  # seconds that a client is asked to wait when the server is full


class TokenBucket:
    """Bucket that fills at a steady rate and from which each request takes one token.

    Args:
        rate: tokens per minute, and the most that the bucket holds.
        now: time in seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.most = max(1.0, rate)
        self.level = self.most
        self.seen = now

    def take(self, now: float) -> float:
        """Take a token; return 0, or the seconds until there is one.

        Args:
            now: time in seconds.
        """
        self.level = min(self.most, self.level + (now - self.seen) * self.rate / 60)
        self.seen = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) * 60 / self.rate


class Admission:
    """Counts of requests that are being answered, and the decision about the next one.

    Args:
        limits: limits to keep.
        n_waiting: function that returns the number of texts that wait for room in the engine.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self,
        limits: ServingLimits,
        n_waiting: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.n_waiting = n_waiting
        self.clock = clock
        self.n_running = 0
        self.n_by_key: Counter[str] = Counter()
        self.n_body: Counter[str] = Counter()  # requests without a known key, by address
        self.buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def enter(self) -> None:
        """Count a request that begins; `leave` must follow.

        Raises:
            ApiError: the server is full.
        """
        if self.n_running >= self.limits.requests:
            raise _too_many(f"{self.n_running} requests are being answered", "--requests")
        check_queue(self.n_waiting(), self.limits)
        self.n_running += 1

    def leave(self) -> None:
        """Count a request that ends, for which `enter` was called."""
        self.n_running -= 1

    def enter_body(self, address: str, needs_key: bool) -> None:
        """Count a request of a client without a known key; `leave_body` must follow.

        Args:
            address: address of the client.
            needs_key: its key is to come in its body, and until then each address has few.

        Raises:
            ApiError: there are too many.
        """
        n_open = self.n_body.total()
        if n_open >= OPEN_PER_REQUEST * self.limits.requests:
            raise _too_many(f"{n_open} requests are open", "--requests")
        if needs_key and self.n_body[address] >= BODIES_PER_ADDRESS:
            message = f"{BODIES_PER_ADDRESS} requests of this address have shown no key yet"
            raise _too_many(message, "a key in Authorization avoids it")
        self.n_body[address] += 1

    def leave_body(self, address: str) -> None:
        """Count a request no more, for which `enter_body` was called."""
        self.n_body[address] -= 1
        if not self.n_body[address]:
            del self.n_body[address]

    def enter_key(self, key_name: str) -> None:
        """Count a request of a key.

        Raises:
            ApiError: too many requests of the key are being answered.
        """
        if self.n_by_key[key_name] >= self.limits.requests_per_key:
            n_running = self.n_by_key[key_name]
            message = f"{n_running} requests of this key are being answered"
            raise _too_many(message, "--requests-per-key")
        self.n_by_key[key_name] += 1

    def leave_key(self, key_name: str) -> None:
        """Count a request of a key that ends, for which `enter_key` was called."""
        self.n_by_key[key_name] -= 1
        if not self.n_by_key[key_name]:
            del self.n_by_key[key_name]

    def check_rate(self, caller: str) -> None:
        """Count a request towards the rate of a caller.

        Args:
            caller: name of a key, or an address.

        Raises:
            ApiError: the caller is too fast.
        """
        if not self.limits.rate:
            return
        now = self.clock()
        bucket = self.buckets.pop(caller, None) or TokenBucket(self.limits.rate, now)
        self.buckets[caller] = bucket
        if len(self.buckets) > MOST_CALLERS:
            self.buckets.popitem(last=False)
        if seconds := bucket.take(now):
            message = f"more than {self.limits.rate:g} requests in a minute"
            raise _too_many(message, "--rate", math.ceil(seconds))


def _too_many(what: str, option: str, seconds: int = PAUSE) -> ApiError:
    """Return the error for a request beyond a limit.

    Args:
        what: text that says what reached the limit.
        option: option of `lslm serve` that sets the limit.
        seconds: time after which the client may try again.
    """
    message = f"{what}, the limit of this server ({option}); try again in {seconds} s"
    return ApiError(429, message, retry_after=seconds)


def check_queue(n_waiting: int, limits: ServingLimits) -> None:
    """Check that not too many texts wait for room in the engine.

    Raises:
        ApiError: there are too many.
    """
    if n_waiting >= limits.queue:
        raise _too_many(f"{n_waiting} texts wait for the models", "--queue")


def check_limit(name: str, value: int | None, most: int, option: str) -> None:
    """Check that a number of a request is within a limit of the server.

    Args:
        name: field of the request.
        option: option of `lslm serve` that sets the limit.

    Raises:
        ApiError: it is not; the message names the field, the number and the limit.
    """
    if value is not None and value > most:
        message = f"{name}={value} must be at most {most:,}, the limit of this server ({option})"
        raise beyond_limit(message, name)
