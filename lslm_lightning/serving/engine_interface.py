"""Interface of the engine that the HTTP process talks to."""

from collections.abc import AsyncGenerator
from typing import Protocol

from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    EngineLoad,
    ScoredAnswers,
    ScoreRequest,
    ServedModelInfo,
)


class ServingEngine(Protocol):
    """Protocol of the engine, as `EngineClient` implements it with another process.

    All methods that answer raise `ServingError` for a request that the engine refuses, and if the
    engine fails meanwhile.
    """

    @property
    def models(self) -> tuple[ServedModelInfo, ...]:
        """Models that are served, in the order of the command line; empty until they are ready."""

    @property
    def is_ready(self) -> bool:
        """False while the engine starts, or starts again after a failure."""

    @property
    def load(self) -> EngineLoad:
        """Latest figures of the engine."""

    @property
    def n_restart(self) -> int:
        """Number of times that the engine was started again."""

    async def start(self) -> None:
        """Start the engine, and return at once."""

    async def wait_ready(self) -> None:
        """Wait for the models.

        Raises:
            ServingError: a model cannot be loaded.
        """

    def new_id(self) -> int:
        """Return the number of the next request."""

    def stream(self, request: AnswerRequest) -> AsyncGenerator[AnswerPart | Answered, None]:
        """Yield the parts of the answers, and their end. Closing the generator cancels the
        request.
        """

    async def answer(self, request: AnswerRequest) -> Answered:
        """Return the answers. Cancelling the task cancels the request."""

    async def score(self, request: ScoreRequest) -> ScoredAnswers:
        """Return log probabilities of given answers."""

    async def stop(self, seconds: float) -> None:
        """Stop the engine when the requests under way are answered, after `seconds` at most."""
