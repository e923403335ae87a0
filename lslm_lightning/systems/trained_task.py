"""Interfaces of the tasks of trained runs, as far as systems use them; see `training.task.Task`."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from lslm_lightning.contracts import Answers, Example, Mode, Prediction
from lslm_lightning.decoding import AnySearch, Fusion
from lslm_lightning.decoding.engine import InferenceEngine
from lslm_lightning.decoding.search import Nested
from lslm_lightning.types import TokenNats


class TaskAnswering(Protocol):
    """Interface of the object by which a task answers examples."""

    @property
    def limit(self) -> str:
        """Setting at which answers are cut, such as "max_length=128"; "" if there is none."""
        ...

    def use_search(self, search: AnySearch | None, fusion: Fusion | None = None) -> None:
        """Set the search algorithm and the fused language model for answers; None keeps those of
        the task.
        """
        ...

    def use_engine(self, name: str, dtype: str) -> None:
        """Let an engine compute the model in place of PyTorch; see `decoding.engine`."""
        ...

    def example(self, id: str, given: str) -> Example:
        """Return an example with the text `given` as source."""
        ...

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of examples whose source is truncated, and a sentence that explains
        why.
        """
        ...

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that describe how the task answers in this
        mode.
        """
        ...


class ModelSize(Protocol):
    """Size of a trained model."""

    @property
    def n_parameter(self) -> int | None:
        """Number of trained parameters; None before they are known."""
        ...

    @property
    def n_byte(self) -> int:
        """Size of the trained parameters in bytes."""
        ...


class TrainedTask(Protocol):
    """Task of a run with trained weights."""

    modality: str
    search: object | None
    finds_n_best: bool
    engine: InferenceEngine | None

    @property
    def answering(self) -> TaskAnswering: ...

    @property
    def model_info(self) -> ModelSize: ...

    def generate(self, examples: Sequence[Example], n_best: int = ...) -> Iterator[Prediction]:
        """Yield one prediction per example, in order; if `n_best` is above 1, with as many
        alternatives.
        """
        ...


class ScoringTask(Protocol):
    """Task that computes probabilities of texts or of given answers."""

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first reference of
        each example, or of its `answers` after its source.
        """
        ...


class LanguageModelTask(TrainedTask, Protocol):
    """Task of a language model, whose token probabilities can be mixed with those of other
    models.
    """

    def rows(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the token ids of each text; the examples are passages of texts."""
        ...

    def token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Return the negative log probabilities, in nats, of the ids of each row.

        Args:
            n_given: number of ids at the start of each row that are read but not scored.
        """
        ...

    def scored(self, examples: Sequence[Example], token_nats: TokenNats) -> Iterator[Prediction]:
        """Yield predictions for the first references, from the nats that `token_nats` returns."""
        ...

    def scored_answers(
        self, examples: Sequence[Example], answers: Answers, token_nats: TokenNats
    ) -> Iterator[Prediction]:
        """Yield predictions for `answers`, from the nats that `token_nats` returns."""
        ...

    def step(self, ids: Tensor, state: Nested, shared: object) -> tuple[Tensor, Nested]:
        """Return the logits (N, V) of the token after the last of `ids`, and the new decoder state.

        Args:
            ids: tokens (N, t) that follow those already in `state`.
            state: decoder state before these tokens.
            shared: values that are the same at every step, such as an encoder's output.
        """
        ...
