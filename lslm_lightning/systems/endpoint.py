"""Hosted models behind an OpenAI-compatible address, used by completions or chat."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

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
from lslm_lightning.safety.redaction import learn_settings, redacted_settings
from lslm_lightning.systems.echo_scorer import OVERHEAD, EchoScorer
from lslm_lightning.systems.endpoint_client import (
    EndpointClient,
    EndpointError,
    RefusedError,
    Request,
    answer_in_parallel,
)
from lslm_lightning.systems.ledger import Ledger, Prices
from lslm_lightning.systems.refusals import Refusals
from lslm_lightning.text.reasoning import has_reasoning, strip_reasoning
from lslm_lightning.types import JsonObject

__all__ = ["Endpoint", "EndpointError", "check_range"]

# of settings
MOST_CONCURRENT = 1000
MOST_RETRIES = 100
MOST_SECONDS = 86_400
MOST_WRITTEN = 10**7
FREE = ("max_tokens", "temperature", "seed", "stop")  # parameters that a server may refuse
# not to be set by `extra`
RESERVED = (*FREE, "model", "messages", "prompt", "echo", "n", "best_of", "stream")
RECORDED = (  # settings that change answers
    "kind",
    "instruction",
    "temperature",
    "max_tokens",
    "seed",
    "stop",
    "extra",
    "strip_reasoning",
)


class Endpoint(Generator, Scorer):
    """Hosted model that receives the question of each example (`Example.question`), or its source
    alone, and replies with the answer.

    Requests that fail with 429 or 5xx, or time out, are sent again after growing pauses, unless the
    server reports an exhausted quota. Every answer is cached, so repeating an evaluation costs
    nothing; a cached answer counts towards the budget at the price once paid.

    If the server refuses a parameter by name (such as `max_tokens` of a reasoning model), it is
    renamed as the server demands, or omitted, in all further requests. This is logged once and
    recorded.

    Args:
        model: name of the model at the provider.
        kind: "chat", or "completions" for models that continue a text; the latter also give
            probabilities if the server echoes the prompt.
        base_url: address of the server; by default `OPENAI_BASE_URL`, or the address of OpenAI.
        key_variable: environment variable that holds the API key.
        instruction: system message for a chat model.
        max_tokens: maximum length of an answer, including reasoning; null to send no limit.
        temperature: 0 for the most probable answer; null to send none.
        seed: random seed, for servers that support one.
        stop: texts that end a completion.
        concurrency: maximum number of simultaneous requests.
        max_retries: maximum number of retries of one request.
        timeout_seconds: time limit from the start of one request to the last byte of its reply.
        prices: prices of tokens; without them the cost is not counted.
        budget: maximum cost of this evaluation, in the currency of `prices`.
        extra: additional parameters of the provider, sent unchanged: {reasoning_effort: low},
            {top_k: 1}, {max_completion_tokens: 2000}, which replaces max_tokens.
        strip_reasoning: remove reasoning, such as `<think>` blocks, from the answers.
        sends: "question", which says what to do, or "source" alone, for a model that was trained
            for the task, such as one behind `lslm serve`.
    """

    # one ledger counts the cost of the evaluation, answers of earlier attempts included
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
        extra: JsonObject | None = None,
        strip_reasoning: bool = False,
        sends: Literal["question", "source"] = "question",
    ) -> None:
        check_range("concurrency", concurrency, 1, MOST_CONCURRENT)
        check_range("max_retries", max_retries, 0, MOST_RETRIES)
        check_range("timeout_seconds", timeout_seconds, 0.001, MOST_SECONDS)
        if max_tokens is not None:
            check_range("max_tokens", max_tokens, 1, MOST_WRITTEN)
        if temperature is not None:
            check_range("temperature", temperature, 0, 100)
        check_extra(extra or {})
        self.model = model
        self.name = model
        self.kind = kind
        self.instruction = instruction
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.seed = seed
        self.stop = stop
        self.concurrency = concurrency
        self.extra = extra or {}
        self.strip_reasoning = strip_reasoning
        self.sends = sends
        self.limit_name = (
            "max_completion_tokens" if "max_completion_tokens" in self.extra else "max_tokens"
        )
        self.most_output = self._output_limit(budget)
        self.refusals = Refusals(FREE)
        self.ledger = Ledger(prices, budget)
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        learn_settings(self.extra)
        self.client = EndpointClient(
            model,
            kind,
            address.rstrip("/"),
            key_variable,
            max_retries,
            timeout_seconds,
            self.ledger,
        )
        self.echo = EchoScorer(self.client, self.extra, concurrency)

    def _output_limit(self, budget: float | None) -> int:
        """Return the maximum number of tokens of an answer; 0 if there is no limit.

        Raises:
            ValueError: there is a budget but no limit.
        """
        limit = self.extra.get("max_completion_tokens", self.max_tokens)
        if isinstance(limit, int):
            return limit
        if budget is not None:
            raise ValueError(
                f"budget={budget:g} needs max_tokens: without it the cost of the next answer has "
                "no upper bound"
            )
        return 0

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the API key is set.

        Raises:
            EndpointError: it is not.
        """
        _ = self.client.http

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield the predictions in the order in which the answers arrive."""
        yield from answer_in_parallel(self._answer, self._sent(examples), self.concurrency)

    def _sent(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Return the examples with what is sent of them."""
        if self.sends == "question":
            return examples
        return [replace(example, question="") for example in examples]

    def _answer(self, example: Example) -> Prediction:
        try:
            reply = self.client.ask(self._request(example), self.refusals)
        except RefusedError as error:
            if not error.problem.is_filtered:
                raise
            reply = {"text": "", "finish": "content_filter", "n_output": 0, "seconds": 0.0}
        text = reply["text"].strip()
        finish = reply.get("finish")
        if self.strip_reasoning:
            text = strip_reasoning(text)
        has_thought = reply.get("reasoning") or has_reasoning(reply["text"])
        if not text and has_thought and finish in ("stop", "length", None):
            finish = "reasoning"
        return Prediction(
            example.id,
            text,
            n_token=reply["n_output"],
            seconds=reply["seconds"],
            finish_reason=finish,
        )

    def _request(self, example: Example) -> Request:
        """Return the request for the question of an example."""
        question = example.question or example.source
        payload: JsonObject = {"model": self.model}
        for name in FREE:
            is_sent = name != "max_tokens" or self.limit_name == "max_tokens"
            if is_sent and (value := getattr(self, name)) is not None:
                payload[name] = value
        if self.kind == "chat":
            first = [{"role": "system", "content": self.instruction}] if self.instruction else []
            payload["messages"] = [*first, {"role": "user", "content": question}]
        else:
            payload["prompt"] = question
        most_input = len(question.encode()) + len((self.instruction or "").encode()) + OVERHEAD
        return Request(example.id, payload | self.extra, most_input, self.most_output)

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first reference of
        each example, from completions that echo the text.

        Each passage is scored after the passage before it. The end of the text is not scored. With
        `answers`, each answer is scored after the question or source of its example instead; see
        `contracts.Scorer`.

        Exactly the characters of the passage are scored. If a token would span the boundary between
        context and passage, the context is shortened so that it ends before that token. For
        answers, a token that spans the boundary counts as the first token of the answer.

        Raises:
            CannotError: the model is used by chat, which gives no probabilities, or the server does
                not echo the text token for token.
        """
        if self.kind == "chat":
            raise CannotError(
                f"{self.model} is asked by chat, which gives no probabilities of a given text"
            )
        if answers is None:
            yield from self.echo.score_passages(examples)
        else:
            yield from self.echo.score_answers(pair_answers(self._sent(examples), answers))

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that describe how answers are made in this mode.

        For "generate", they state whether reasoning was stripped; for "log_prob", the context and
        the model whose tokens are scored.
        """
        if mode == "generate":
            return "|reasoning:stripped" if self.strip_reasoning else ""
        return f"|context:one passage|tokens:{self.model}"

    def info(self) -> JsonObject:
        """Return the numbers of tokens and requests and the cost, including cached answers, and all
        settings that affect answers.
        """
        ledger = self.ledger
        money = {"money": ledger.spent, "currency": ledger.prices.currency} if ledger.prices else {}
        asked = {
            name: value for name in RECORDED if (value := getattr(self, name)) not in (None, {})
        }
        replaced = self.refusals.replaced | self.echo.refusals.replaced
        if self.sends != "question":
            asked["sends"] = self.sends
        found = {"asked_with": asked, "replaced": replaced, "left_out": self.refusals.left_out}
        found = redacted_settings(json.loads(json.dumps(found, ensure_ascii=False, default=str)))
        if self.most_output and "max_tokens" not in found["left_out"]:
            found["limit"] = f"{self.limit_name}={self.most_output}"
        found = {name: value for name, value in found.items() if value}
        lost = {"requests_lost": ledger.n_lost} if ledger.n_lost else {}
        counts = {"tokens_read": ledger.n_input, "tokens_written": ledger.n_output}
        return {**counts, "requests": ledger.n_request, **lost, **money, **found}


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Check that a setting is in its range; nan is always rejected.

    Raises:
        ValueError: the value is out of range; the message names the setting and the range.
    """
    if not least <= value <= most:
        raise ValueError(f"{name}={value} must be from {least:,} to {most:,}")


def check_extra(extra: JsonObject) -> None:
    """Check that `extra` contains no parameter that the evaluation sets itself.

    Raises:
        ValueError: it does; the message names the parameters.
    """
    taken = [name for name in extra if name in RESERVED]
    if not taken:
        return
    settings = [name for name in taken if name in FREE]
    way_out = (
        f"give {' and '.join(settings)} as settings of their own" if settings else "leave them out"
    )
    raise ValueError(
        f"extra must not have {' and '.join(taken)}, which the evaluation sends itself; {way_out}"
    )
