"""Service that the routes share: which model answers, and its answers while the client waits."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, contextmanager
from typing import NamedTuple, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from lslm_lightning.serving.admission import check_limit, check_queue
from lslm_lightning.serving.engine_interface import ServingEngine
from lslm_lightning.serving.errors import (
    UNSUPPORTED,
    ApiError,
    beyond_limit,
    shown,
    unavailable,
)
from lslm_lightning.serving.keys import ApiKeys
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.measures import ServerMeasures
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    ScoredAnswers,
    ScoreRequest,
    ServedModelInfo,
    ServingError,
)
from lslm_lightning.serving.visits import Visit

T = TypeVar("T")
GUARD = 2.0  # seconds after the end of a request's time, when an engine that is silent is given up


class ClientGoneError(ConnectionError):
    """The client ended the connection before its request was answered."""


class TextEvent(NamedTuple):
    """Part of the answers to one of several texts; `number` is the index of the text."""

    number: int
    event: AnswerPart | Answered


class AnswerService:
    """Models that answer HTTP requests, within the limits of the server.

    Args:
        engine: engine with the models.
        limits: limits of requests.
        measures: figures to add the tokens to.
        keys: keys of clients; empty if none is needed.
    """

    def __init__(
        self,
        engine: ServingEngine,
        limits: ServingLimits,
        measures: ServerMeasures,
        keys: ApiKeys,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.measures = measures
        self.keys = keys
        self.n_text = 0  # that the engine was asked for and has not answered

    def n_waiting(self) -> int:
        """Return the number of texts that wait for room in the engine, with those on their way."""
        load = self.engine.load
        return max(load.n_waiting, self.n_text - load.n_running)

    @contextmanager
    def _counted(self, n: int) -> Iterator[None]:
        """Count texts inside the `with` statement.

        Raises:
            ApiError: too many wait.
        """
        check_queue(self.n_waiting(), self.limits)
        self.n_text += n
        try:
            yield
        finally:
            self.n_text -= n

    def models(self) -> tuple[ServedModelInfo, ...]:
        """Return the models that are served.

        Raises:
            ApiError: they are not ready.
        """
        if not self.engine.is_ready or not self.engine.models:
            raise unavailable("the models are being loaded; ask again soon")
        return self.engine.models

    def model(
        self, name: str | None, fits: Callable[[ServedModelInfo], bool], purpose: str
    ) -> ServedModelInfo:
        """Return the model of a name, or the first that fits if the name is None.

        Args:
            fits: function that returns whether a model can answer the request.
            purpose: what the model is needed for, for the message.

        Raises:
            ApiError: there is no such model, or it does not fit.
        """
        models = self.models()
        fitting = [each for each in models if fits(each)]
        others = f"; those that do: {', '.join(each.name for each in fitting)}" if fitting else ""
        if name is None:
            if not fitting:
                message = f"no model of this server {purpose}"
                raise ApiError(400, message, "model", UNSUPPORTED)
            return fitting[0]
        found = next((each for each in models if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in models)
            message = f"model={shown(name)} is not served here; the models are {known}"
            raise ApiError(404, message, parameter="model", code="model_not_found")
        if found not in fitting:
            message = f"model={name} is none that {purpose}{others}"
            raise ApiError(400, message, "model", UNSUPPORTED)
        return found

    def check_texts(self, name: str, sizes: Sequence[int], n: int = 1) -> None:
        """Check the texts of a request.

        Args:
            name: field of the texts.
            sizes: number of characters, or of token ids, of each text.
            n: answers to each text.

        Raises:
            ApiError: there are too many texts, characters or answers.
        """
        limits = self.limits
        check_limit("n", n, limits.answers, "--answers")
        n_text = len(sizes) * n
        if n_text > limits.texts:
            message = f"{name} asks for {n_text:,} answers, and may for {limits.texts:,} at most"
            raise beyond_limit(f"{message} (--texts); send several requests", name)
        if (total := sum(sizes)) > limits.characters:
            message = f"{name} has {total:,} characters, and may have {limits.characters:,} at most"
            raise beyond_limit(f"{message} (--characters); send less", name)

    async def answers(self, http: Request, requests: Sequence[AnswerRequest]) -> list[Answered]:
        """Return the answers to each text, while the client waits.

        Raises:
            ServingError: the engine refuses a text, or fails.
            ApiError: the time is over.
            ClientGoneError: the client went away; the engine was told.
        """
        began = time.time()
        found = await self._all(http, len(requests), map(self.engine.answer, requests))
        for request, answered in zip(requests, found, strict=True):
            self._add(http, request, answered, began)
            check_found(answered)
            if any(answer.finish_reason == "timeout" for answer in answered.answers):
                raise self._late()
        return found

    async def scores(self, http: Request, requests: Sequence[ScoreRequest]) -> list[ScoredAnswers]:
        """Return the scores of each request, while the client waits; the errors are those of
        `answers`.
        """
        return await self._all(http, len(requests), map(self.engine.score, requests))

    async def events(
        self, http: Request, requests: Sequence[AnswerRequest]
    ) -> AsyncGenerator[TextEvent, None]:
        """Yield the parts of the answers to all texts as they come.

        Raises:
            ServingError: the engine refuses a text, or fails.
            ApiError: the time is over.
        """
        events: asyncio.Queue[TextEvent | None] = asyncio.Queue()

        async def follow(number: int, request: AnswerRequest) -> None:
            async with aclosing(self.engine.stream(request)) as stream:
                async for event in stream:
                    events.put_nowait(TextEvent(number, event))

        async def follow_all() -> None:
            try:
                async with asyncio.timeout(self.limits.seconds + GUARD):
                    await together([follow(i, each) for i, each in enumerate(requests)])
            except TimeoutError:
                raise self._late() from None
            finally:
                events.put_nowait(None)

        visit = visit_of(http)
        began = time.time()
        with self._counted(len(requests)):
            following = asyncio.create_task(follow_all())
            try:
                while (item := await events.get()) is not None:
                    if isinstance(item.event, Answered):
                        self._add(http, requests[item.number], item.event, began)
                        check_found(item.event)
                    elif item.event.finish_reason == "timeout":
                        raise self._late()
                    elif visit.first_seconds is None and item.event.text:
                        visit.first_seconds = time.perf_counter() - visit.began
                    yield item
                    await asyncio.sleep(0)  # others run, however much is ready
                await following
            finally:
                following.cancel()

    async def _all(
        self, http: Request, n: int, work: Iterable[Coroutine[object, object, T]]
    ) -> list[T]:
        """Return the results of `n` coroutines, in time and while the client waits."""
        try:
            with self._counted(n):
                async with asyncio.timeout(self.limits.seconds + GUARD):
                    return await unless_gone(http.receive, together([*work]))
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> ApiError:
        limit = f"{self.limits.seconds:g} s"
        return ApiError(504, f"no answer in {limit}, the limit of this server; ask for less")

    def _add(self, http: Request, request: AnswerRequest, answered: Answered, began: float) -> None:
        """Add an answer to the figures, and to the trace of the request if it has one.

        Args:
            began: time at which the engine was asked, in Unix seconds.
        """
        visit = visit_of(http)
        visit.n_prompt_token += answered.n_prompt_token
        visit.n_token += answered.n_token
        self.measures.add_answer(request.model, answered)
        if visit.trace is not None:
            model = next((m for m in self.engine.models if m.name == request.model), None)
            if model is not None:
                visit.trace.add(request, answered, model, began)


def visit_of(http: Request) -> Visit:
    """Return what is known of a request."""
    visit: Visit = http.scope["state"]["visit"]
    return visit


def check_found(answered: Answered) -> None:
    """Check that a search has found an answer.

    Raises:
        ServingError: it has found none, as a beam search whose hypotheses are all forbidden.
    """
    if not answered.answers:
        raise ServingError("the search found no answer; ask for another one", "internal")


async def together(work: Sequence[Coroutine[object, object, T]]) -> list[T]:
    """Return the results of coroutines that run at the same time.

    Raises:
        Exception: the first error; the other coroutines are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    return [task.result() for task in tasks]


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, of `ServingError` if there is one."""
    known = errors.subgroup(ServingError) or errors
    error: BaseException = known
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of `work`, which is cancelled if the client goes away.

    Args:
        receive: function that returns the next message of the connection, whose body was read.

    Raises:
        ClientGoneError: the client went away.
    """

    async def wait_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    waiting = asyncio.create_task(wait_gone())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError("the client went away")
    finally:
        waiting.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
