"""A hosted model behind an OpenAI-compatible address: GPT-3-style completions, or chat."""

import hashlib
import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Scorer,
    pair_answers,
)
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.safety.redaction import (
    learn_address,
    learn_secret,
    learn_settings,
    redacted,
    redacted_settings,
)
from lslm_lightning.safety.user_files import write_private
from lslm_lightning.systems.echo import BoundaryError, EchoError, score_passage
from lslm_lightning.systems.ledger import Ledger, Prices
from lslm_lightning.systems.refusals import Refusals, named_parameter
from lslm_lightning.systems.replies import (
    MOST_TOKENS,
    Problem,
    ProblemError,
    check_characters,
    known_shapes,
    read_body,
    read_problem,
    read_reply,
    read_usage,
)
from lslm_lightning.text.reasoning import has_reasoning, strip_reasoning

if TYPE_CHECKING:
    from lslm_lightning.systems.deadline import DeadlineClient

logger = logging.getLogger(__name__)
LOSSES = ".lost"  # suffix of files beside cached replies
BROKEN_REPLIES = 5  # of one question, before it is given up
LONGEST_PAUSE = 8.0  # seconds before a request is sent again, where the server names none
# of settings
MOST_CONCURRENT = 1000
MOST_RETRIES = 100
MOST_SECONDS = 86_400
MOST_WRITTEN = 10**7
# Errors of the HTTP library, whatever its version, of a request that did not reach the server
UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
UNSENT += ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError")
OVERHEAD = 64  # tokens that a chat adds to a question at most
# what a text is scored after where nothing is before it; a later one where a token holds both
CONTEXTS = ("\n", " ", ".")
MOST_CONTEXTS = 8  # tried for one passage
KEPT = {  # what a cached reply may have, and of which types
    "text": str,
    "n_input": int,
    "n_output": int,
    "seconds": (int, float),
    "finish": (str, type(None)),
    "reasoning": bool,
    "tokens": list,
    "offsets": list,
    "logprobs": list,
}
FREE = ("max_tokens", "temperature", "seed", "stop")  # what a server may refuse to take
# not to be set by `extra`
OWN = (*FREE, "model", "messages", "prompt", "echo", "n", "best_of", "stream")


class EndpointError(RuntimeError):
    """The endpoint did not answer a question. One line, without the key."""


class NoReplyError(RuntimeError):
    """A request was not answered.

    Attributes:
        was_sent: whether the server may have worked on it, and bill it.
    """

    def __init__(self, message: str, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class RefusedError(EndpointError):
    """The endpoint refuses a request as it is."""

    def __init__(self, message: str, problem: Problem) -> None:
        super().__init__(message)
        self.problem = problem


class Endpoint(Generator, Scorer):
    """Asks questions in words (`Example.question`) and takes the text of the reply as the answer.

    Requests that fail with 429 or 5xx, or time out, are sent again after growing pauses, unless the
    server says that a quota is used up. Every answer is kept in the cache, so that asking again
    costs nothing; it counts in the budget as what it cost when it was given.

    A parameter that the server refuses by name (`max_tokens` of a reasoning model, say) is renamed
    as the server asks, or left out, from then on. This is logged once and kept in the record.

    Args:
        model: the provider's name for it.
        kind: "chat", or "completions" for models that continue a text; the latter give
            probabilities too, where the server echoes.
        base_url: by default `OPENAI_BASE_URL`, or OpenAI's.
        key_variable: the environment variable that holds the key.
        instruction: a first message to a chat model.
        max_tokens: the most it may write, its reasoning included; null to send no limit.
        temperature: 0 for the most probable answer; null to send none.
        seed: for servers that know one.
        stop: texts that end a completion.
        concurrency: requests under way at a time.
        max_retries: of one request.
        timeout_seconds: from the beginning of one request to the last byte of its reply.
        prices: of tokens; without them money is not counted.
        budget: the most that this exam may cost, in the currency of `prices`.
        extra: what this provider takes besides, sent as it is: {reasoning_effort: low}, {top_k: 1},
            {max_completion_tokens: 2000}, which is sent in place of max_tokens.
        strip_reasoning: take what stands in `<think>` and the like out of the answers.
    """

    # one ledger counts what the exam costs, answers of earlier attempts included
    needs_all_examples = True
    shardable = False

    def __init__(
        self,
        model: str,
        kind: Literal["chat", "completions"] = "chat",
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        instruction: str | None = None,
        max_tokens: int | None = 256,
        temperature: float | None = 0.0,
        seed: int | None = None,
        stop: list[str] | None = None,
        concurrency: int = 4,
        max_retries: int = 6,
        timeout_seconds: float = 60.0,
        prices: Prices | None = None,
        budget: float | None = None,
        extra: dict[str, Any] | None = None,
        strip_reasoning: bool = False,
    ) -> None:
        check_range("concurrency", concurrency, 1, MOST_CONCURRENT)
        check_range("max_retries", max_retries, 0, MOST_RETRIES)
        check_range("timeout_seconds", timeout_seconds, 0.001, MOST_SECONDS)
        if max_tokens is not None:
            check_range("max_tokens", max_tokens, 1, MOST_WRITTEN)
        if temperature is not None:
            check_range("temperature", temperature, 0, 100)
        if taken := [name for name in extra or {} if name in OWN]:
            settings = [name for name in taken if name in FREE]
            way_out = (
                f"; give {' and '.join(settings)} as settings of their own"
                if settings
                else "; leave them out"
            )
            raise ValueError(
                f"extra must not have {' and '.join(taken)}, which the evaluation sends "
                f"itself{way_out}"
            )
        limit = (extra or {}).get("max_completion_tokens", max_tokens)
        if budget is not None and not isinstance(limit, int):
            raise ValueError(
                f"budget={budget:g} needs max_tokens: without it nobody knows what the next "
                "answer may cost"
            )
        self.model = model
        self.kind = kind
        self.key_variable = key_variable
        self.instruction = instruction
        self.base_url = (
            base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        ).rstrip("/")
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.seed = seed
        self.stop = stop
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout_seconds = timeout_seconds
        self.ledger = Ledger(prices, budget)
        self.extra = extra or {}
        self.strip_reasoning = strip_reasoning
        self.limit_name = (
            "max_completion_tokens" if "max_completion_tokens" in self.extra else "max_tokens"
        )
        self.most_output = limit if isinstance(limit, int) else 0
        self.refusals = Refusals(FREE)
        self.scoring_refusals = Refusals((), positive=("max_tokens", "logprobs"))
        self.name = model
        # of what follows, and of losses on disk: requests run on several threads
        self._lock = Lock()
        self._is_told = False  # that the cache takes nothing
        self._entered: set[Path] = set()  # whose losses of earlier attempts are in the ledger
        learn_secret(os.environ.get(key_variable))
        learn_address(self.base_url)
        learn_settings(self.extra)

    @cached_property
    def client(self) -> "DeadlineClient":
        from lslm_lightning.systems.deadline import DeadlineClient

        key = os.environ.get(self.key_variable)
        if not key:
            raise EndpointError(
                redacted(
                    f"{self.key_variable} is not set: it must hold the key for {self.base_url}"
                )
            )
        return DeadlineClient(key, self.base_url, self.timeout_seconds)

    def prepare(self, examples: Sequence[Example]) -> None:
        """Raises EndpointError where there is no key."""
        _ = self.client

    # Answers

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """In the order in which they come."""
        yield from self._side_by_side(self._answer, examples)

    def _answer(self, example: Example) -> Prediction:
        question = example.question or example.source
        payload: dict[str, Any] = {"model": self.model}
        own = {
            name: getattr(self, name)
            for name in FREE
            if name != "max_tokens" or self.limit_name == "max_tokens"
        }
        payload |= {name: value for name, value in own.items() if value is not None}
        if self.kind == "chat":
            first = [{"role": "system", "content": self.instruction}] if self.instruction else []
            payload["messages"] = [*first, {"role": "user", "content": question}]
        else:
            payload["prompt"] = question
        most_input = len(question.encode()) + len((self.instruction or "").encode()) + OVERHEAD
        try:
            reply = self._ask(
                example.id, payload | self.extra, most_input, self.most_output, self.refusals
            )
        except RefusedError as error:
            if not error.problem.is_filtered:
                raise
            reply = {"text": "", "finish": "content_filter", "n_output": 0, "seconds": 0.0}
        text = reply["text"].strip()
        finish = reply.get("finish")
        if self.strip_reasoning:
            text = strip_reasoning(text)
        if (
            not text
            and (reply.get("reasoning") or has_reasoning(reply["text"]))
            and finish in ("stop", "length", None)
        ):
            finish = "reasoning"
        return Prediction(
            example.id,
            text,
            n_token=reply["n_output"],
            seconds=reply["seconds"],
            finish_reason=finish,
        )

    # Probabilities

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """By completions that echo the text; each passage after the one before it. The end of the
        text is not scored. With `answers`, those of each answer after the question or the source of
        its example; see `contracts.Scorer`.

        What is scored are exactly the characters of the passage, by tokens that are those of the
        text: where a token would hold the end of the one before and the beginning of the passage,
        the passage is scored after a context that ends before that token. Of an answer such a token
        counts as a whole: it is the first of the answer.

        Raises:
            CannotError: a chat gives no probabilities, nor does every server of completions; its
                reply is not believed where it is not about the text that was sent, token for token.
        """
        if self.kind == "chat":
            raise CannotError(
                f"{self.model} is asked by chat, which gives no probabilities of a given text"
            )
        if answers is not None:
            yield from self._score_answers(pair_answers(examples, answers))
            return
        texts = {e.id: e.references[0] for e in examples}

        def score(example: Example) -> Prediction:
            name, mark, number = example.id.rpartition("#")
            before = (
                texts.get(f"{name}#{int(number) - 1}", "")
                if mark and number.isdigit() and int(number)
                else ""
            )
            return self._score(example, before)

        yield from self._side_by_side(score, examples)

    def _score_answers(self, pairs: Sequence[tuple[Example, str]]) -> Iterator[Prediction]:
        """Predictions in the order of the pairs, as soon as those before them are there."""
        numbered = [
            Example(str(i), example.source, (answer,), question=example.question)
            for i, (example, answer) in enumerate(pairs)
        ]
        found: dict[int, Prediction] = {}
        n_given = 0
        for prediction in self._side_by_side(self._score_answer, numbered):
            found[int(prediction.id)] = prediction
            while n_given in found:
                example, answer = pairs[n_given]
                yield replace(found.pop(n_given), id=example.id, output=answer)
                n_given += 1

    def _score_answer(self, example: Example) -> Prediction:
        """The first reference of an example, after its question or its source."""
        before = example.question or example.source
        answer = example.references[0]
        if not answer:
            return Prediction(example.id, nats=0.0)
        if not before:
            return self._score(example, "")
        try:
            reply = self._echo(example.id, before + answer)
            try:
                nats, n_token = score_passage(reply, before, answer)
            except BoundaryError as error:
                text = before + answer
                if not error.start:
                    raise EchoError("its first token holds the whole source") from None
                nats, n_token = score_passage(reply, text[: error.start], text[error.start :])
        except EchoError as error:
            raise self._gives_nothing(str(error)) from None
        return Prediction(example.id, nats=nats, n_token=n_token, seconds=reply["seconds"])

    def _echo(self, name: str, text: str) -> dict[str, Any]:
        """The reply to a request for the tokens of a text and their probabilities.

        Args:
            name: of the question, for messages.

        Raises:
            EchoError: the server refuses to give them.
        """
        payload = {
            "model": self.model,
            "prompt": text,
            "max_tokens": 0,
            "echo": True,
            "logprobs": 0,
        } | self.extra
        n_written = len({"max_tokens"} & self.scoring_refusals.changes.keys())
        most_input = len(text.encode()) + OVERHEAD
        try:
            return self._ask(name, payload, most_input, n_written, self.scoring_refusals)
        except RefusedError as error:
            asked = ("echo", "logprobs", "prompt_logprobs")
            if named_parameter(error.problem, payload) not in asked:
                raise
            raise EchoError(error.problem.message) from None

    def _gives_nothing(self, reason: str) -> CannotError:
        words = (
            f"{self.model} does not give back the probabilities of a text that it is sent "
            "(echo, logprobs)"
        )
        return CannotError(redacted(f"{words}: {reason}"))

    def _score(self, example: Example, before: str) -> Prediction:
        """The passage of an example, after what is before it in its text."""
        others = iter(CONTEXTS)
        seconds = 0.0
        passage = example.references[0]
        context = before or next(others)
        reason = ""
        for _ in range(MOST_CONTEXTS):
            try:
                reply = self._echo(example.id, context + passage)
                seconds += reply["seconds"]
                nats, n_token = score_passage(reply, context, passage)
                return Prediction(example.id, nats=nats, n_token=n_token, seconds=seconds)
            except BoundaryError as error:
                context = context[: error.start] or next(others, "")
                reason = str(error)
            except EchoError as error:
                reason = str(error)
                break
            if not context:
                break
        raise self._gives_nothing(reason)

    def signature(self, mode: Mode) -> str:
        """A passage is scored after the one before it, in tokens that the model alone knows."""
        if mode == "generate":
            return "|reasoning:stripped" if self.strip_reasoning else ""
        return f"|context:one passage|tokens:{self.model}"

    def info(self) -> dict[str, Any]:
        """Tokens and money, of the cache too, and all that changes answers."""
        ledger = self.ledger
        money = {"money": ledger.spent, "currency": ledger.prices.currency} if ledger.prices else {}
        names = (
            "kind",
            "instruction",
            "temperature",
            "max_tokens",
            "seed",
            "stop",
            "extra",
            "strip_reasoning",
        )
        asked = {name: value for name in names if (value := getattr(self, name)) not in (None, {})}
        replaced = self.refusals.replaced | self.scoring_refusals.replaced
        found = {"asked_with": asked, "replaced": replaced, "left_out": self.refusals.left_out}
        found = redacted_settings(json.loads(json.dumps(found, ensure_ascii=False, default=str)))
        if self.most_output and "max_tokens" not in found["left_out"]:
            found["limit"] = f"{self.limit_name}={self.most_output}"
        found = {name: value for name, value in found.items() if value}
        lost = {"requests_lost": ledger.n_lost} if ledger.n_lost else {}
        counts = {"tokens_read": ledger.n_input, "tokens_written": ledger.n_output}
        return {**counts, "requests": ledger.n_request, **lost, **money, **found}

    # Requests

    def _side_by_side(
        self, work: Callable[[Example], Prediction], examples: Sequence[Example]
    ) -> Iterator[Prediction]:
        """What was answered before an error is given before the error is raised."""
        waiting = iter(examples)
        error = None
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            running = {pool.submit(work, example) for example in islice(waiting, self.concurrency)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    if future.exception() is None:
                        yield future.result()
                    else:
                        error = error or future.exception()
                if error is None:
                    running |= {
                        pool.submit(work, example) for example in islice(waiting, len(done))
                    }
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if error is not None:
            raise error

    def _ask(
        self,
        name: str,
        payload: dict[str, Any],
        most_input: int,
        most_output: int,
        refusals: Refusals,
    ) -> dict[str, Any]:
        """A reply as it is kept: text, why it ended, tokens with probabilities, numbers of tokens,
        seconds.

        Raises:
            RefusedError: the server refuses the request for a reason that is not mended by leaving
                out what it does not take.
        """
        while True:
            sent = refusals.apply(payload)
            self._enter_losses(self._cached(sent))
            if (kept := read_kept(self._cached(sent))) is not None and "refused" not in kept:
                self.ledger.enter(0.0, kept["n_input"], kept["n_output"], cached=True)
                return kept
            for problem in kept["refused"] if kept else []:  # another time
                with suppress(RefusedError):
                    self._learn(refusals, Problem(*problem), refusals.apply(payload))
            if kept and refusals.apply(payload) != sent:
                continue
            try:
                reply = self._sent(name, sent, most_input, most_output)
            except ProblemError as error:
                self._learn(refusals, error.problem, sent)
                continue
            self._keep(self._cached(sent), reply)
            if sent != payload and not (path := self._cached(payload)).exists():
                self._keep(path, {"refused": [list(problem) for problem in refusals.problems]})
            return reply

    def _learn(self, refusals: Refusals, problem: Problem, sent: Mapping[str, Any]) -> None:
        """Take from what the server says is wrong what is to be sent from now on.

        Raises:
            RefusedError: that is not said.
            EndpointError: a budget cannot be kept so.
        """
        message = redacted(f"{self.base_url}: {ProblemError(problem)}")[:300]
        lesson = refusals.learn(problem, sent) if problem.status in (400, 422) else None
        if lesson is None:
            raise RefusedError(message, problem)
        if self.ledger.budget is not None and "max_tokens" in refusals.left_out:
            raise EndpointError(
                f"{message}; without a limit budget={self.ledger.budget:g} cannot be kept: give "
                "the limit the name that the"
                " server takes, extra: {max_completion_tokens: 256}, or leave budget out"
            )
        if lesson:
            logger.warning("%s: %s", self.name, redacted(lesson))

    def _sent(
        self, name: str, payload: dict[str, Any], most_input: int, most_output: int
    ) -> dict[str, Any]:
        """Send a request until it is answered.

        A reply that is late, cut or no reply may be on the provider's bill all the same: it is
        entered as the most that it may cost.

        Raises:
            ProblemError: the server says what is wrong.
            EndpointError: it gives no reply that can be read.
        """
        n_broken = 0
        for attempt in count():
            reserved = self.ledger.reserve(most_input, most_output)
            used: tuple[int, int] = (0, 0)
            content: Any = ""
            pause: float | None = None
            is_lost = False
            try:
                began = time.perf_counter()
                content = self._send(payload)
                with known_shapes():
                    body = read_body(content)
                    used = read_usage(body, most_input, most_output or len(json.dumps(body)))
                    reply = read_reply(body)
                seconds = time.perf_counter() - began
                return reply | {"n_input": used[0], "n_output": used[1], "seconds": seconds}
            except ProblemError as error:
                is_lost = error.problem.is_late
                if not (error.problem.is_passing and error.may_pass) or attempt >= self.max_retries:
                    raise
                pause = error.pause
            except NoReplyError as error:
                is_lost = error.was_sent
                if attempt >= self.max_retries:
                    words = f"no reply to {name!r} in {attempt + 1} requests: {error}"
                    raise EndpointError(redacted(f"{self.base_url}: {words}")[:300]) from None
            except (ValueError, RecursionError) as error:
                is_lost = True
                n_broken = n_broken + 1
                if n_broken == BROKEN_REPLIES:
                    words = f"answered {name!r} {n_broken} times with what is no reply: {error}"
                    raise EndpointError(redacted(f"{self.base_url} {words}")) from None
            finally:
                if is_lost and used == (0, 0):
                    used = most_input, most_output or len(str(content))
                self.ledger.enter(reserved, *used, n_lost=int(is_lost))
                if is_lost:
                    self._keep_loss(self._cached(payload), used)
            if pause is None:
                pause = min(0.5 * 2**attempt, LONGEST_PAUSE) * random.uniform(0.75, 1.0)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _send(self, payload: dict[str, Any]) -> Any:
        """Send a request once and return what came back: of JSON the object, else the text.

        Raises:
            ProblemError: the server says what is wrong.
            NoReplyError: the server says nothing, or not all in time.
        """
        import openai

        try:
            path = "/chat/completions" if self.kind == "chat" else "/completions"
            return self.client.post(path, payload)
        except openai.APIStatusError as error:
            problem = read_problem(redacted(error.response.text), error.status_code)
            raise ProblemError(problem, error.response.headers) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            was_sent = type(error.__cause__).__name__ not in UNSENT
            words = "nothing whole came" if was_sent else "no connection"
            words += f" in timeout_seconds={self.timeout_seconds:g}"
            raise NoReplyError(words, was_sent) from None
        except openai.OpenAIError as error:
            words = " ".join(f"{error} {error.__cause__ or ''}".split())
            raise NoReplyError(words, type(error.__cause__).__name__ not in UNSENT) from None

    def _enter_losses(self, path: Path) -> None:
        """Enter what earlier attempts paid for without an answer, once: a budget is of the exam."""
        with self._lock:
            is_first = path not in self._entered
            self._entered.add(path)
            n_lost, n_input, n_output = read_losses(path) if is_first else (0, 0, 0)
        if n_lost:
            self.ledger.enter(0.0, n_input, n_output, cached=True, n_lost=n_lost)

    def _keep_loss(self, path: Path, used: tuple[int, int]) -> None:
        """Keep, beside where the reply will be, what was paid for without one."""
        with self._lock:
            n_lost, n_input, n_output = read_losses(path)
            found = [n_lost + 1, n_input + used[0], n_output + used[1]]
            reason = self._kept(path.with_suffix(LOSSES), found)
        self._tell(path, reason)

    def _keep(self, path: Path, reply: Any) -> None:
        """Keep a reply where that is possible; it was paid for and is an answer all the same."""
        self._tell(path, self._kept(path, reply))

    def _kept(self, path: Path, reply: Any) -> str:
        """Write a reply into the cache; return why that is not possible, "" where it is."""
        try:
            keep(path, reply)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _tell(self, path: Path, reason: str) -> None:
        """Warn, once, that replies cannot be kept."""
        if not reason:
            return
        with self._lock:
            is_first = not self._is_told
            self._is_told = True
        if is_first:
            words = "replies cannot be cached in %s (%s): asking again will cost again"
            logger.warning(words, path.parents[1], reason)

    def _cached(self, payload: Mapping[str, Any]) -> Path:
        asked = json.dumps([self.base_url, self.kind, payload], sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(asked.encode("utf-8", "backslashreplace")).hexdigest()
        return cache_directory() / "answers" / name[:2] / f"{name[2:]}.json"


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Refuse a setting outside of its range; nan is in none.

    Raises:
        ValueError: it names the setting and the range.
    """
    if not least <= value <= most:
        raise ValueError(f"{name}={value} must be from {least:,} to {most:,}")


def read_kept(path: Path) -> dict[str, Any] | None:
    """Return what is kept at `path`; None where there is nothing, or where it is damaged: told."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        check_kept(kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        logger.warning("cached reply %s is damaged (%s): its question is asked again", path, reason)
        return None
    return kept


def check_kept(kept: Any) -> None:
    """Refuse what is neither a reply nor a record of what a server refuses, as `keep` writes them.

    Raises:
        ValueError: what is wrong.
    """
    if not isinstance(kept, dict):
        raise ValueError(f"a {type(kept).__name__} and no object")
    if "refused" in kept:
        with known_shapes():
            for message, parameter, code, status in kept["refused"]:
                known = isinstance(parameter, str | None) and isinstance(status, int)
                if not known or not isinstance(message + code, str):
                    raise ValueError("a refusal of an unknown shape")
        return
    for name, kinds in KEPT.items():
        if name not in kept and name in ("text", "n_input", "n_output", "seconds"):
            raise ValueError(f"it has no {name}")
        if name not in kept:
            continue
        is_wrong = isinstance(kept[name], bool) != (kinds is bool)
        if is_wrong or not isinstance(kept[name], kinds):
            raise ValueError(f"{name} is {json.dumps(kept[name])[:40]}")
    for name in ("n_input", "n_output"):
        if not 0 <= kept[name] <= MOST_TOKENS:
            raise ValueError(f"{name} is {str(kept[name])[:40]}")
    if not 0 <= kept["seconds"] < math.inf:
        raise ValueError(f"seconds is {kept['seconds']}")
    check_characters(kept["text"])


def read_losses(path: Path) -> list[int]:
    """Return the requests, the tokens read and those written that gave no reply to keep at
    `path`.
    """
    try:
        found = json.loads(path.with_suffix(LOSSES).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return [0, 0, 0]
    counts = isinstance(found, list) and len(found) == 3
    if not counts or not all(type(n) is int and 0 <= n <= MOST_TOKENS for n in found):
        return [0, 0, 0]
    return found


def keep(path: Path, reply: Any) -> None:
    """Write a reply, whole or not at all, for its owner alone."""
    write_private(path, json.dumps(reply, ensure_ascii=False), "backslashreplace")
