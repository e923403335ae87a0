"""Traces of requests: settings, and what is known of a request that is traced.

This module imports neither torch nor mlflow nor a web framework, so that any process can use it.
"""

import math
import time
from dataclasses import dataclass, field

from lslm_lightning.serving.protocol import (
    Answered,
    AnswerRequest,
    AnswerTimes,
    ServedModelInfo,
)
from lslm_lightning.types import Json

MOST_TEXTS = 8  # of a request, that have spans of their own


@dataclass(frozen=True)
class TraceSettings:
    """Settings of traces.

    Args:
        share: share of the requests that are traced, from 0 to 1.
        texts: put the texts of requests and answers into the traces.
    """

    share: float = 0.0
    texts: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or math.isnan(self.share):
            raise ValueError(f"--trace {self.share} must be a share from 0 to 1")
        if self.texts and not self.share:
            raise ValueError("--trace-texts needs --trace, the share of the requests to trace")


@dataclass(frozen=True)
class TextTrace:
    """Answers to one text of a request.

    Args:
        model: name of the model.
        began: time at which the engine was asked, in Unix seconds.
        ended: time at which all answers were there.
        times: times in the engine; None where it tells none.
        n_prompt_token: tokens of the prompt or source.
        n_cached_token: those that the prompt cache had.
        n_token: tokens of the answers that were searched.
        reasons: reason for the end of each answer.
        source: text or messages that were sent; None if they are not to be told.
        answers: texts of the answers; None if they are not to be told.
    """

    model: str
    began: float
    ended: float
    times: AnswerTimes | None = None
    n_prompt_token: int = 0
    n_cached_token: int = 0
    n_token: int = 0
    reasons: tuple[str, ...] = ()
    source: Json = None
    answers: tuple[str, ...] | None = None


@dataclass
class RequestTrace:
    """Request that is traced.

    Attributes:
        has_texts: True if its texts are to be told.
        began: time of its arrival, in Unix seconds.
        ended: time of the end of its response.
        directory: run directory of the model; of the first model if none answered; "" if there is
            none.
        id: id of the request.
        method: method of HTTP.
        route: template of the route.
        status: status of the response.
        first_seconds: seconds until the first part of a streamed answer; None without one.
        n_text: number of its texts.
        n_prompt_token: tokens read.
        n_token: tokens written.
        texts: its first texts, `MOST_TEXTS` at most.
    """

    has_texts: bool = False
    began: float = 0.0
    ended: float = 0.0
    directory: str = ""
    id: str = ""
    method: str = ""
    route: str = ""
    status: int = 0
    first_seconds: float | None = None
    n_text: int = 0
    n_prompt_token: int = 0
    n_token: int = 0
    texts: list[TextTrace] = field(default_factory=list)

    def add(
        self, request: AnswerRequest, answered: Answered, model: ServedModelInfo, began: float
    ) -> None:
        """Add the answers to a text.

        Args:
            model: model that answered.
            began: time at which it was asked, in Unix seconds.
        """
        self.directory = model.directory
        self.n_text += 1
        if len(self.texts) == MOST_TEXTS:
            return
        has_source = self.has_texts and model.modality == "text"  # else it names a file
        answers = tuple(answer.text for answer in answered.answers)
        self.texts.append(
            TextTrace(
                model.name,
                began,
                time.time() if answered.times is None else answered.times.ended,
                answered.times,
                answered.n_prompt_token,
                answered.n_cached_token,
                answered.n_token,
                tuple(answer.finish_reason for answer in answered.answers),
                source_of(request) if has_source else None,
                answers if self.has_texts else None,
            )
        )


def source_of(request: AnswerRequest) -> Json:
    """Return the text, messages or token ids of a request, as JSON has them."""
    if request.messages is not None:
        return [{"role": role, "content": text} for role, text in request.messages]
    return request.source if isinstance(request.source, str) else list(request.source)


@dataclass(frozen=True)
class TraceOutcome:
    """Result of an attempt to write some traces.

    Args:
        n_written: number of traces that MLflow has.
        n_lost: number of those that it has not.
        problem: reason for the loss, in one line; None without one.
    """

    n_written: int
    n_lost: int
    problem: str | None = None
