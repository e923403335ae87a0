"""Models that answer requests as a whole, not token by token."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

import torch

from lslm_lightning.contracts import Prediction
from lslm_lightning.decoding.stepwise import Sampling
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerRequest,
    EngineRequest,
    Event,
    ScoreRequest,
    ServedAnswer,
    ServingError,
)
from lslm_lightning.serving.served_model import ServedModel, one_line, refusal
from lslm_lightning.training.span_model import MarkedAnswer, SpanModel

if TYPE_CHECKING:
    from lslm_lightning.experiments.generation import WritingTask


class WholeModel(ServedModel):
    """Model that answers requests as a whole, not token by token: searches over frames, spans
    and sentences, n-gram models, and models that another engine computes.

    Args:
        name: name by which requests call it.
        run: reference of the run, as the user gave it.
        loaded: run with its weights on the device.
        batch_size: most requests with the same settings that are answered together.
    """

    def __init__(self, name: str, run: str, loaded: LoadedRun, batch_size: int = 16) -> None:
        super().__init__(name, run, loaded)
        self._waiting: list[EngineRequest] = []
        self.batch_size = batch_size

    def abilities(self) -> Iterator[str]:
        yield "answer"
        if isinstance(self.task, SpanModel):
            yield "span"
        if self.task.search is not None:
            yield "generate"
            names = [kind.__name__ for kind in self.task.searches]
            yield from ("beam", "sample") if "Search" in names else ("beam",)

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def n_running(self) -> int:
        return 0

    def take(self, request: EngineRequest) -> None:
        if isinstance(request, AnswerRequest):
            given = {
                "stop": request.stop,
                "logit_bias": request.logit_bias,
                "presence_penalty": request.presence_penalty,
                "frequency_penalty": request.frequency_penalty,
                "logprobs": request.n_top is not None,
                "echo": request.echo,
                "messages": request.messages,
                "prompt": not isinstance(request.source, str),
                "attention": request.with_attention,
            }
            if wrong := [name for name, value in given.items() if value]:
                raise ServingError(
                    f"{', '.join(wrong)}: {type(self.task).__name__} does not write token by token "
                    "here; leave it out, and give text",
                    "unsupported",
                    wrong[0],
                )
            with self.set_up(request.settings, request.best_of):
                pass
        self._waiting.append(request)

    def cancel(self, id: int) -> None:
        self._waiting = [request for request in self._waiting if request.id != id]

    def work(self) -> list[Event]:
        if not self._waiting:
            return []
        group = self._next_group()
        try:
            if isinstance(group[0], ScoreRequest):
                return [self.score(group[0])]
            return self._answers([each for each in group if isinstance(each, AnswerRequest)])
        except (ValueError, RuntimeError, OSError) as error:
            if len(group) == 1:
                kind = error if isinstance(error, ServingError) else ServingError(one_line(error))
                return [refusal(group[0], kind)]
        return [event for each in group for event in self._alone(each)]

    def _alone(self, request: EngineRequest) -> list[Event]:
        """Return the answer to one request of a batch that failed, or its refusal."""
        self._waiting.insert(0, request)
        size, self.batch_size = self.batch_size, 1
        try:
            return self.work()
        finally:
            self.batch_size = size

    def _next_group(self) -> list[EngineRequest]:
        """Return the requests to answer next, no longer waiting: the first, and those that may
        share its batch, as their answers are not drawn and have the same settings.
        """
        first = self._waiting[0]
        group = [first]
        if isinstance(first, AnswerRequest) and not self._draws(first):
            like = (first.settings, first.best_of)
            group += [
                each
                for each in self._waiting[1:]
                if isinstance(each, AnswerRequest) and (each.settings, each.best_of) == like
            ][: self.batch_size - 1]
        chosen = {each.id for each in group}
        self._waiting = [each for each in self._waiting if each.id not in chosen]
        return group

    def _draws(self, request: AnswerRequest) -> bool:
        """Return whether the answers to a request are drawn by random numbers."""
        with self.set_up(request.settings, request.best_of):
            return isinstance(self.task.search, Sampling)

    def _answers(self, requests: Sequence[AnswerRequest]) -> list[Event]:
        """Return the answers to requests with the same settings."""
        first = requests[0]
        examples = [replace(self.example(str(each.source)), id=str(each.id)) for each in requests]
        if isinstance(self.task, SpanModel):
            marked = [self.task.marked_answer(example) for example in examples]
            return [
                Answered(each.id, (span_answer(found),), len(example.text))
                for each, example, found in zip(requests, examples, marked, strict=True)
            ]
        more = {} if first.best_of == 1 else {"n_best": first.best_of}
        with self.set_up(first.settings, first.best_of), torch.random.fork_rng(devices=[]):
            torch.manual_seed(first.seed)
            writer = cast("WritingTask", self.task)
            found = {each.id: each for each in writer.generate(examples, **more)}
        return [
            Answered(
                each.id,
                answers_of(found[str(each.id)], each.n),
                len(self.tokenizer.encode(example.source)) if self.info.modality == "text" else 0,
                n_token=found[str(each.id)].n_token,
            )
            for each, example in zip(requests, examples, strict=True)
        ]


def answers_of(prediction: Prediction, n: int) -> tuple[ServedAnswer, ...]:
    """Return the `n` best answers of a prediction."""
    reason: Literal["length", "stop"] = "length" if prediction.finish_reason == "length" else "stop"
    log_p = None if prediction.nats is None else -prediction.nats
    others = [
        ServedAnswer(each.output, reason, 0, -each.nats) for each in prediction.alternatives[1:n]
    ]
    return ServedAnswer(prediction.output or "", reason, prediction.n_token, log_p), *others


def span_answer(found: MarkedAnswer) -> ServedAnswer:
    """Return the answer that a model marked in its passage."""
    return ServedAnswer(
        found.output,
        "stop",
        0,
        -found.nats,
        span=found.span,
        no_answer_score=found.no_answer_score,
    )
