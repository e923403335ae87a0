"""A hosted model behind an OpenAI-compatible address: GPT-3-style completions, or chat."""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lslm_lightning.contracts import CannotError, Example, Mode, Prediction
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.systems.ledger import Ledger, Prices
from lslm_lightning.systems.secrets import redacted

if TYPE_CHECKING:
    from openai import OpenAI

BROKEN_REPLIES = 5  # of one question, before it is given up
OVERHEAD = 64  # tokens that a chat adds to a question at most


class EndpointError(RuntimeError):
    """The endpoint did not answer a question. One line, without the key."""


class Endpoint:
    """Asks questions in words (`Example.question`) and takes the text of the reply as the answer.

    Requests that fail with 429 or 5xx, or not in time, are sent again after growing pauses. Every answer is kept in the cache, so that
    asking again costs nothing; it counts in the budget as what it cost when it was given.

    Args:
        model: the provider's name for it.
        kind: "chat", or "completions" for models that continue a text; the latter give probabilities too, where the server echoes.
        base_url: by default `OPENAI_BASE_URL`, or OpenAI's.
        key_variable: the environment variable that holds the key.
        instruction: a first message to a chat model.
        max_tokens: the most it may write.
        temperature: 0 for the most probable answer.
        seed: for servers that know one.
        stop: texts that end a completion.
        concurrency: requests under way at a time.
        max_retries: of one request.
        timeout_seconds: of one request.
        prices: of tokens; without them money is not counted.
        budget: the most that this exam may cost, in the currency of `prices`.
    """

    whole_exam, shared = True, False  # one ledger counts what the exam costs, answers of earlier attempts included

    def __init__(
        self,
        model: str,
        kind: Literal["chat", "completions"] = "chat",
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        instruction: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: list[str] | None = None,
        concurrency: int = 4,
        max_retries: int = 6,
        timeout_seconds: float = 60.0,
        prices: Prices | None = None,
        budget: float | None = None,
    ) -> None:
        if concurrency < 1 or max_tokens < 1:
            raise ValueError(f"concurrency={concurrency} and max_tokens={max_tokens} must be at least 1")
        self.model, self.kind, self.key_variable, self.instruction = model, kind, key_variable, instruction
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1").rstrip("/")
        self.max_tokens, self.temperature, self.seed, self.stop = max_tokens, temperature, seed, stop
        self.concurrency, self.max_retries, self.timeout_seconds = concurrency, max_retries, timeout_seconds
        self.ledger = Ledger(prices, budget)
        self.name = model

    @cached_property
    def client(self) -> "OpenAI":
        from openai import OpenAI

        key = os.environ.get(self.key_variable)
        if not key:
            raise EndpointError(redacted(f"{self.key_variable} is not set: it must hold the key for {self.base_url}"))
        return OpenAI(api_key=key, base_url=self.base_url, max_retries=self.max_retries, timeout=self.timeout_seconds)

    def ready(self, examples: Sequence[Example]) -> None:
        """Raises EndpointError where there is no key."""
        _ = self.client

    # Answers

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """In the order in which they come."""
        yield from self._side_by_side(self._answer, examples)

    def _answer(self, example: Example) -> Prediction:
        question = example.question or example.source
        payload: dict[str, Any] = {"model": self.model, "max_tokens": self.max_tokens, "temperature": self.temperature}
        payload |= {name: value for name, value in (("seed", self.seed), ("stop", self.stop)) if value is not None}
        if self.kind == "chat":
            first = [{"role": "system", "content": self.instruction}] if self.instruction else []
            payload["messages"] = [*first, {"role": "user", "content": question}]
        else:
            payload["prompt"] = question
        reply = self._ask(example.id, payload, len(question.encode()) + len((self.instruction or "").encode()) + OVERHEAD, self.max_tokens)
        return Prediction(example.id, reply["text"], n_token=reply["n_output"], seconds=reply["seconds"])

    # Probabilities

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """By completions that echo the text; each passage after the one before it. The end of the text is not scored.

        Raises:
            CannotError: a chat gives no probabilities.
            EndpointError: not every server echoes.
        """
        if self.kind == "chat":
            raise CannotError(f"{self.model} is asked by chat, which gives no probabilities of a given text")
        texts = {e.id: e.references[0] for e in examples}

        def score(example: Example) -> Prediction:
            name, mark, number = example.id.rpartition("#")
            before = texts.get(f"{name}#{int(number) - 1}", "") if mark and number.isdigit() and int(number) else ""
            context = before or "\n"
            text = context + example.references[0]
            payload = {"model": self.model, "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 0}
            reply = self._ask(example.id, payload, len(text.encode()) + OVERHEAD, 0)
            if len(reply.get("logprobs", ())) != len(reply.get("offsets", ())) or not reply.get("logprobs"):
                raise CannotError(f"{self.model} does not give back the probabilities of a text that it is sent (echo, logprobs)")
            scored = [p for p, at in zip(reply["logprobs"], reply["offsets"], strict=True) if at >= len(context) and p is not None]
            return Prediction(example.id, nats=-sum(scored), n_token=len(scored), seconds=reply["seconds"])

        yield from self._side_by_side(score, examples)

    def signature(self, mode: Mode) -> str:
        """A passage is scored after the one before it, in tokens that the model alone knows."""
        return "" if mode == "generate" else f"|context:one passage|tokens:{self.model}"

    def facts(self) -> dict[str, Any]:
        """Tokens and money, of the cache too."""
        ledger = self.ledger
        money = {"money": ledger.spent, "currency": ledger.prices.currency} if ledger.prices else {}
        return {"tokens_read": ledger.n_input, "tokens_written": ledger.n_output, "requests": ledger.n_request, **money}

    # Requests

    def _side_by_side(self, work: Callable[[Example], Prediction], examples: Sequence[Example]) -> Iterator[Prediction]:
        """What was answered before an error is given before the error is raised."""
        waiting, error = iter(examples), None
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
                    running |= {pool.submit(work, example) for example in islice(waiting, len(done))}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if error is not None:
            raise error

    def _ask(self, name: str, payload: dict[str, Any], most_input: int, most_output: int) -> dict[str, Any]:
        """A reply as it is kept: text, logprobs and offsets, numbers of tokens, seconds."""
        path = self._cached(payload)
        if path.exists():
            reply = json.loads(path.read_text("utf-8"))
            self.ledger.enter(0.0, reply["n_input"], reply["n_output"], cached=True)
            return reply
        for attempt in range(BROKEN_REPLIES):
            reserved, used = self.ledger.reserve(most_input, most_output), (0, 0)
            try:
                began = time.perf_counter()
                answer = self._send(payload)
                used = tokens_of(answer, most_input, most_output)
                reply = read_reply(answer)
            except ValueError as error:
                reason = error
            else:
                reply |= {"n_input": used[0], "n_output": used[1], "seconds": time.perf_counter() - began}
                keep(path, reply)
                return reply
            finally:
                self.ledger.enter(reserved, *used)
            time.sleep(0.5 * 2**attempt)
        raise EndpointError(redacted(f"{self.base_url} answered {name!r} {BROKEN_REPLIES} times with what is no reply: {reason}"))

    def _send(self, payload: dict[str, Any]) -> Any:
        import openai

        try:
            return (self.client.chat.completions if self.kind == "chat" else self.client.completions).create(**payload)
        except openai.APIResponseValidationError as error:
            raise ValueError(str(error)) from None
        except openai.OpenAIError as error:
            raise EndpointError(redacted(f"{self.base_url}: {' '.join(str(error).split())}")[:300]) from None

    def _cached(self, payload: dict[str, Any]) -> Path:
        asked = json.dumps([self.base_url, self.kind, payload], sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(asked.encode("utf-8", "backslashreplace")).hexdigest()
        return cache_directory() / "answers" / name[:2] / f"{name[2:]}.json"


def read_reply(answer: Any) -> dict[str, Any]:
    """The text of a reply, and probabilities where there are some.

    Raises:
        ValueError: it has none; servers behind a proxy send pages of HTML, or nothing.
    """
    choices = getattr(answer, "choices", None)
    if not choices or not isinstance(choices, list):
        raise ValueError(f"no choices in {' '.join(str(answer).split())[:100]!r}")
    choice = choices[0]
    message = getattr(choice, "message", None)
    text = getattr(choice, "text", None) if message is None else message.content or getattr(message, "refusal", None) or ""
    if not isinstance(text, str):
        raise ValueError("a choice without text")
    found = getattr(choice, "logprobs", None)
    tokens = {"logprobs": found.token_logprobs, "offsets": found.text_offset} if getattr(found, "token_logprobs", None) else {}
    return {"text": text.strip(), **tokens}


def tokens_of(answer: Any, most_input: int, most_output: int) -> tuple[int, int]:
    """Tokens read and written as the server counts them; the most there can be where it does not."""
    usage = getattr(answer, "usage", None)
    counts = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    if not all(isinstance(n, int) and n >= 0 for n in counts):
        return most_input, most_output
    return counts


def keep(path: Path, reply: dict[str, Any]) -> None:
    """Write a reply, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    draft.write_text(json.dumps(reply, ensure_ascii=False), "utf-8", "backslashreplace")
    draft.replace(path)
