"""Client for an OpenAI-compatible server, with retries, a cache of replies and a ledger of
costs.
"""

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.safety.redaction import learn_address, learn_secret, redacted
from lslm_lightning.systems.ledger import Ledger
from lslm_lightning.systems.refusals import Refusals
from lslm_lightning.systems.replies import (
    Problem,
    ProblemError,
    known_shapes,
    read_body,
    read_problem,
    read_reply,
    read_usage,
)
from lslm_lightning.systems.reply_cache import ReplyCache, read_cached
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from lslm_lightning.systems.deadline import DeadlineClient

logger = logging.getLogger(__name__)
FOREIGN = (
    "the reply is not built as this API's replies are; does base_url name an OpenAI-compatible "
    "server?"
)
BROKEN_REPLIES = 5  # to one question, before it is given up
LONGEST_PAUSE = 8.0  # seconds before a request is sent again, where the server names none
# Errors of the HTTP library, in any version, for a request that did not reach the server
UNSENT = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
    "InvalidURL",
    "LocalProtocolError",
)


class EndpointError(RuntimeError):
    """The endpoint did not answer a question; the message is one line and does not contain the
    key.
    """


class NoReplyError(RuntimeError):
    """The server sent no complete reply to a request.

    Attributes:
        was_sent: whether the server may have processed, and may bill, the request.
    """

    def __init__(self, message: str, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class RefusedError(EndpointError):
    """The endpoint refuses a request, and no change of the request's parameters helps."""

    def __init__(self, message: str, problem: Problem) -> None:
        super().__init__(message)
        self.problem = problem


class Request(NamedTuple):
    """Request for one example, with upper bounds on the number of tokens read and written.

    `name` is the id of the example, for messages.
    """

    name: str
    payload: JsonObject
    most_input: int  # tokens
    most_output: int  # tokens; 0 without a limit


class EndpointClient:
    """Client that repeats each request, with growing pauses, until it is answered.

    It may be used from many threads.

    Args:
        model: name of the model, for warnings.
        kind: "chat" or "completions".
        base_url: address of the server.
        key_variable: environment variable with the API key.
        max_retries: maximum number of retries of one request.
        timeout_seconds: time limit from the start of one request to the last byte of its reply.
        ledger: ledger that sums the costs and enforces the budget.
    """

    def __init__(
        self,
        model: str,
        kind: str,
        base_url: str,
        key_variable: str,
        max_retries: int,
        timeout_seconds: float,
        ledger: Ledger,
    ) -> None:
        self.model = model
        self.kind = kind
        self.base_url = base_url
        self.key_variable = key_variable
        self.max_retries = max_retries
        self.timeout_seconds = timeout_seconds
        self.ledger = ledger
        self.cache = ReplyCache(base_url, kind)
        self.answered_as: set[str] = set()  # models that replies name
        learn_secret(os.environ.get(key_variable))
        learn_address(base_url)

    @cached_property
    def http(self) -> "DeadlineClient":
        """HTTP client that sends the API key.

        Raises:
            EndpointError: the environment variable with the key is not set.
        """
        from lslm_lightning.systems.deadline import DeadlineClient

        key = os.environ.get(self.key_variable)
        if not key:
            raise EndpointError(
                redacted(
                    f"{self.key_variable} is not set: it must hold the key for {self.base_url}"
                )
            )
        return DeadlineClient(key, self.base_url, self.timeout_seconds)

    def ask(self, request: Request, refusals: Refusals) -> JsonObject:
        """Return the reply to a request, from the cache or from the server.

        The reply has the fields of a cached reply: text, finish reason, tokens with log
        probabilities, numbers of tokens, seconds.

        Args:
            refusals: parameters that the server does not accept. They are replaced in the request,
                and newly refused ones are added.

        Raises:
            RefusedError: the server refuses the request for a reason that no replacement of
                parameters can fix.
        """
        payload = request.payload
        while True:
            sent = refusals.apply(payload)
            path = self.cache.path(sent)
            self._enter_losses(path)
            if (cached := read_cached(path)) is not None and "refused" not in cached:
                self.ledger.enter(0.0, cached["n_input"], cached["n_output"], cached=True)
                self.answered_as.update([cached["model"]] if "model" in cached else [])
                return cached
            for problem in cached["refused"] if cached else []:  # of an earlier evaluation
                with suppress(RefusedError):
                    self._learn(refusals, Problem(*problem), refusals.apply(payload))
            if cached and refusals.apply(payload) != sent:
                continue
            try:
                reply = self._send_until_answered(request._replace(payload=sent))
            except ProblemError as error:
                self._learn(refusals, error.problem, sent)
                continue
            self.cache.write(path, reply)
            self.answered_as.update([reply["model"]] if "model" in reply else [])
            if sent != payload and not (first := self.cache.path(payload)).exists():
                self.cache.write(first, {"refused": [list(each) for each in refusals.problems]})
            return reply

    def _learn(self, refusals: Refusals, problem: Problem, sent: Mapping[str, Json]) -> None:
        """Add a problem that the server reported to `refusals`, so that future requests avoid it.

        Args:
            sent: payload of the request that caused the problem.

        Raises:
            RefusedError: no change of parameters solves the problem.
            EndpointError: the budget cannot be kept without the refused parameter.
        """
        message = redacted(f"{self.base_url}: {ProblemError(problem)}")[:300]
        change = refusals.learn(problem, sent) if problem.status in (400, 422) else None
        if change is None:
            raise RefusedError(message, problem)
        if self.ledger.budget is not None and "max_tokens" in refusals.left_out:
            raise EndpointError(
                f"{message}; without a limit budget={self.ledger.budget:g} cannot be kept: give "
                "the limit the name that the server accepts, extra: {max_completion_tokens: 256}, "
                "or leave budget out"
            )
        if change:
            logger.warning("%s: %s", self.model, redacted(change))

    def _send_until_answered(self, request: Request) -> JsonObject:
        """Send a request until it is answered, and return the reply in its cached form.

        A reply that is late, incomplete or invalid may be billed nevertheless, so its highest
        possible price is entered in the ledger.

        Raises:
            ProblemError: the server reports a problem that remains after all retries.
            EndpointError: the server gives no valid reply.
        """
        n_broken = 0
        for attempt in count():
            reserved = self.ledger.reserve(request.most_input, request.most_output)
            used: tuple[int, int] = (0, 0)
            content = ""
            pause: float | None = None
            is_lost = False
            try:
                began = time.perf_counter()
                content = self._send(request.payload)
                with known_shapes(FOREIGN):
                    body = read_body(content)
                    limit = request.most_output or len(json.dumps(body))
                    used = read_usage(body, request.most_input, limit)
                    reply = read_reply(body)
                    if isinstance(body.get("model"), str):
                        reply["model"] = body["model"]
                seconds = time.perf_counter() - began
                return reply | {"n_input": used[0], "n_output": used[1], "seconds": seconds}
            except ProblemError as error:
                is_lost = error.problem.is_late
                may_pass = error.problem.is_passing and error.may_pass
                if not may_pass or attempt >= self.max_retries:
                    raise
                pause = error.pause
            except NoReplyError as error:
                is_lost = error.was_sent
                if attempt >= self.max_retries:
                    message = f"no reply to {request.name!r} in {attempt + 1} requests: {error}"
                    raise EndpointError(redacted(f"{self.base_url}: {message}")[:300]) from None
            except (ValueError, RecursionError) as error:
                is_lost = True
                n_broken = n_broken + 1
                if n_broken == BROKEN_REPLIES:
                    message = f"sent {n_broken} invalid replies to {request.name!r}: {error}"
                    raise EndpointError(redacted(f"{self.base_url} {message}")) from None
            finally:
                if is_lost and used == (0, 0):
                    used = request.most_input, request.most_output or len(str(content))
                self.ledger.enter(reserved, *used, n_lost=int(is_lost))
                if is_lost:
                    self.cache.add_loss(self.cache.path(request.payload), used)
            if pause is None:
                pause = min(0.5 * 2**attempt, LONGEST_PAUSE) * random.uniform(0.75, 1.0)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _send(self, payload: JsonObject) -> str:
        """Send a request once and return the text of its reply.

        Raises:
            ProblemError: the server reports a problem.
            NoReplyError: there is no reply, or it is not complete in time.
        """
        import openai

        try:
            path = "/chat/completions" if self.kind == "chat" else "/completions"
            return self.http.post(path, payload)
        except openai.APIStatusError as error:
            problem = read_problem(redacted(error.response.text), error.status_code)
            raise ProblemError(problem, error.response.headers) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            was_sent = type(error.__cause__).__name__ not in UNSENT
            message = "no complete reply" if was_sent else "no connection"
            message += f" in timeout_seconds={self.timeout_seconds:g}"
            raise NoReplyError(message, was_sent) from None
        except openai.OpenAIError as error:
            message = " ".join(f"{error} {error.__cause__ or ''}".split())
            raise NoReplyError(message, type(error.__cause__).__name__ not in UNSENT) from None

    def _enter_losses(self, path: Path) -> None:
        """Enter the cost of earlier attempts that got no reply into the ledger, once for each
        request.

        The budget applies to the whole evaluation, including earlier attempts.

        Args:
            path: file for the cached reply to the request.
        """
        n_lost, n_input, n_output = self.cache.earlier_losses(path)
        if n_lost:
            self.ledger.enter(0.0, n_input, n_output, cached=True, n_lost=n_lost)


def answer_in_parallel(
    answer: Callable[[Example], Prediction], examples: Sequence[Example], concurrency: int
) -> Iterator[Prediction]:
    """Yield the predictions of `answer` for the examples as they become ready.

    At most `concurrency` threads run at a time. After an error, no further example is started; the
    predictions that are under way are yielded before the error is raised.
    """
    waiting = iter(examples)
    failure = None
    pool = ThreadPoolExecutor(concurrency)
    try:
        running = {pool.submit(answer, example) for example in islice(waiting, concurrency)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                if (error := future.exception()) is None:
                    yield future.result()
                else:
                    failure = failure or error
            if failure is None:
                running |= {pool.submit(answer, example) for example in islice(waiting, len(done))}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure
