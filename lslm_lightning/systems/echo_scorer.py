"""Log probabilities of given texts from a server that echoes the prompt (`echo`, `logprobs`)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lslm_lightning.contracts import CannotError, Example, Prediction
from lslm_lightning.safety.redaction import redacted
from lslm_lightning.systems.echo import BoundaryError, EchoError, score_passage
from lslm_lightning.systems.endpoint_client import (
    EndpointClient,
    RefusedError,
    Request,
    answer_in_parallel,
)
from lslm_lightning.systems.refusals import Refusals, named_parameter
from lslm_lightning.types import JsonObject

OVERHEAD = 64  # tokens that are sent with a question at most
# contexts of a text without a context of its own; a later one where a token holds both
CONTEXTS = ("\n", " ", ".")
MOST_CONTEXTS = 8  # tried for one passage


class EchoScorer:
    """Scorer of texts and answers that uses completions which echo the prompt with log
    probabilities.

    Args:
        client: client that sends the requests.
        extra: additional parameters of each request.
        concurrency: maximum number of simultaneous requests.
    """

    def __init__(self, client: EndpointClient, extra: JsonObject, concurrency: int) -> None:
        self.client = client
        self.extra = extra
        self.concurrency = concurrency
        self.refusals = Refusals((), positive=("max_tokens", "logprobs"))

    def score_passages(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield a prediction for the first reference of each example, in any order.

        A passage of a text ("play#1") is scored after the passage before it ("play#0").

        Raises:
            CannotError: the server does not return log probabilities of the text.
        """
        texts = {e.id: e.references[0] for e in examples}

        def score(example: Example) -> Prediction:
            name, mark, number = example.id.rpartition("#")
            before = (
                texts.get(f"{name}#{int(number) - 1}", "")
                if mark and number.isdigit() and int(number)
                else ""
            )
            return self._score_passage(example, before)

        yield from answer_in_parallel(score, examples, self.concurrency)

    def score_answers(self, pairs: Sequence[tuple[Example, str]]) -> Iterator[Prediction]:
        """Yield a prediction for each answer after the question or the source of its example, in
        order.

        Raises:
            CannotError: the server does not return log probabilities of the text.
        """
        numbered = [
            Example(str(i), example.source, (answer,), question=example.question)
            for i, (example, answer) in enumerate(pairs)
        ]
        scored: dict[int, Prediction] = {}
        n_given = 0
        for prediction in answer_in_parallel(self._score_answer, numbered, self.concurrency):
            scored[int(prediction.id)] = prediction
            while n_given in scored:
                example, answer = pairs[n_given]
                yield replace(scored.pop(n_given), id=example.id, output=answer)
                n_given += 1

    def _score_answer(self, example: Example) -> Prediction:
        """Return the prediction for the first reference of an example after its question or
        source.
        """
        before = example.question or example.source
        answer = example.references[0]
        if not answer:
            return Prediction(example.id, nats=0.0)
        if not before:
            return self._score_passage(example, "")
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
            raise self._cannot_score(str(error)) from None
        return Prediction(example.id, nats=nats, n_token=n_token, seconds=reply["seconds"])

    def _score_passage(self, example: Example, before: str) -> Prediction:
        """Return the prediction for the first reference of an example after the context `before`.

        If a token spans the end of the context, a shorter or another context is tried.
        """
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
        raise self._cannot_score(reason)

    def _echo(self, name: str, text: str) -> JsonObject:
        """Request the tokens of a text and their log probabilities, and return the reply.

        Args:
            name: id of the example, for messages.

        Raises:
            EchoError: the server refuses the request.
        """
        payload = {
            "model": self.client.model,
            "prompt": text,
            "max_tokens": 0,
            "echo": True,
            "logprobs": 0,
        } | self.extra
        n_written = len({"max_tokens"} & self.refusals.changes.keys())
        request = Request(name, payload, len(text.encode()) + OVERHEAD, n_written)
        try:
            return self.client.ask(request, self.refusals)
        except RefusedError as error:
            asked = ("echo", "logprobs", "prompt_logprobs")
            if named_parameter(error.problem, payload) not in asked:
                raise
            raise EchoError(error.problem.message) from None

    def _cannot_score(self, reason: str) -> CannotError:
        message = (
            f"{self.client.model} does not return the log probabilities of a given text "
            f"(echo, logprobs): {reason}"
        )
        return CannotError(redacted(message))
