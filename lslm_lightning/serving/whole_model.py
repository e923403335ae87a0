"""Models that answer requests as a whole, not token by token."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding.stepwise import Sampling
from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.serving.prompt_tokens import check_source
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerRequest,
    AnswerTimes,
    EngineRequest,
    Event,
    Refusal,
    ScoreRequest,
    ServedAnswer,
    ServingError,
)
from lslm_lightning.serving.served_model import ServedModel, one_line, refusal
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import MarkedAnswer, SpanModel

if TYPE_CHECKING:
    from lslm_lightning.experiments.generation import WritingTask

logger = logging.getLogger(__name__)


class WaitingRequest(NamedTuple):
    """Request that waits, and the end of its time; requests of one `kind` may share a batch, and
    one without a kind stands alone.
    """

    request: EngineRequest
    deadline: float
    kind: tuple[SearchSettings, int] | None


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
        self._waiting: OrderedDict[int, WaitingRequest] = OrderedDict()
        self._alike: dict[tuple[SearchSettings, int], OrderedDict[int, WaitingRequest]] = {}
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
        kind: tuple[SearchSettings, int] | None = None
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
                is_drawn = isinstance(self.task.search, Sampling)
            if isinstance(self.task, SequenceToSequenceTask):
                n_token = self._n_prompt(self.example(str(request.source)))
                check_source(n_token, self.task.backbone.max_positions)
            kind = None if is_drawn else (request.settings, request.best_of)
        waiting = WaitingRequest(request, monotonic() + request.max_seconds, kind)
        self._waiting[request.id] = waiting
        if kind is not None:
            self._alike.setdefault(kind, OrderedDict())[request.id] = waiting

    def fail(self, message: str) -> list[Event]:
        ids = [*self._waiting]
        self._waiting.clear()
        self._alike.clear()
        return [Refusal(id, message, "internal") for id in ids]

    def cancel(self, id: int) -> None:
        if (waiting := self._waiting.pop(id, None)) is None or waiting.kind is None:
            return
        alike = self._alike[waiting.kind]
        del alike[id]
        if not alike:
            del self._alike[waiting.kind]

    def work(self) -> list[Event]:
        if not self._waiting:
            return []
        now = monotonic()
        members = self._next_group()
        late = [each.request for each in members if now > each.deadline]
        group = [each.request for each in members if now <= each.deadline]
        begun = time()
        events: list[Event] = [
            Refusal(
                each.id,
                f"the time of {each.max_seconds:g} seconds is over before the request is begun",
                "timeout",
            )
            for each in late
        ]
        for event in self._done(group) if group else ():
            if isinstance(event, Answered):
                event = replace(event, times=AnswerTimes(begun, None, time(), len(group)))
            events.append(event)
        return events

    def _done(self, group: Sequence[EngineRequest]) -> list[Event]:
        """Return the answers to requests. If they fail together, each is done on its own, so that
        only those fail that must.
        """
        try:
            if isinstance(group[0], ScoreRequest):
                return [self.score(group[0])]
            return self._answers([each for each in group if isinstance(each, AnswerRequest)])
        except ServingError as error:
            if len(group) == 1:
                return [refusal(group[0], error)]
        except Exception as error:  # of a task's own code; the other requests go on
            if len(group) == 1:
                # of a sound, what a user sent may be damaged
                kind = "internal" if self.info.modality == "text" else "invalid"
                logger.exception("request %d failed", group[0].id)
                return [Refusal(group[0].id, one_line(error), kind)]
        return [event for each in group for event in self._done([each])]

    def _next_group(self) -> list[WaitingRequest]:
        """Return the requests to answer next, no longer waiting: the first, and those that may
        share its batch, as their answers are not drawn and have the same settings.
        """
        first = next(iter(self._waiting.values()))
        group = [first]
        if first.kind is not None:
            group = [*islice(self._alike[first.kind].values(), self.batch_size)]
        for each in group:
            self.cancel(each.request.id)
        return group

    def _answers(self, requests: Sequence[AnswerRequest]) -> list[Event]:
        """Return the answers to requests with the same settings."""
        first = requests[0]
        examples = [replace(self.example(str(each.source)), id=str(each.id)) for each in requests]
        n_prompt = [self._n_prompt(example) for example in examples]
        if isinstance(self.task, SpanModel):
            marked = [self.task.marked_answer(example) for example in examples]
            return [
                Answered(each.id, (span_answer(found),), n)
                for each, n, found in zip(requests, n_prompt, marked, strict=True)
            ]
        more = {} if first.best_of == 1 else {"n_best": first.best_of}
        with self.set_up(first.settings, first.best_of), torch.random.fork_rng(devices=[]):
            torch.manual_seed(first.seed)
            writer = cast("WritingTask", self.task)
            predictions = {each.id: each for each in writer.generate(examples, **more)}
        return [
            self._answered(each, predictions[str(each.id)], n)
            for each, n in zip(requests, n_prompt, strict=True)
        ]

    def _n_prompt(self, example: Example) -> int:
        """Return the number of tokens that the model reads of an example; 0 for sound."""
        task = self.task
        if isinstance(task, SequenceToSequenceTask):
            return len(task.read([example])[0])
        if isinstance(task, LanguageModel):
            return len(task.prompts([example])[0])
        return len(self.tokenizer.encode(example.source)) if task.modality == "text" else 0

    def _answered(self, request: AnswerRequest, found: Prediction, n_prompt: int) -> Answered:
        """Return the answers of a prediction. Those but the best are counted by their texts, as a
        task does not tell how they ended.
        """
        first = ServedAnswer(
            found.output or "",
            "length" if found.finish_reason == "length" else "stop",
            found.n_token,
            None if found.nats is None else -found.nats,
        )
        others = [
            ServedAnswer(
                each.output, "stop", len(self.tokenizer.encode(each.output)) + 1, -each.nats
            )
            for each in found.alternatives[1:]
        ]
        n_token = sum(answer.n_token for answer in (first, *others))
        answers = (first, *others)[: request.n]
        return Answered(request.id, answers, n_prompt, n_token=n_token)


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
