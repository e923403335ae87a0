"""Answers of a task: their search, their limits, and the metrics that score them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from lslm_lightning.contracts import Example, Metric, Mode, Prediction
from lslm_lightning.decoding import AnySearch, CtcSearch, Fusion
from lslm_lightning.decoding.search import no_sync
from lslm_lightning.text.identification import language_by_letters
from lslm_lightning.training.distributed.fsdp import agreement, splits_layers
from lslm_lightning.training.precision import weights_cast_once

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task


class Answering:
    """Rules by which a task answers examples; a subclass changes those that differ.

    Args:
        task: the task whose `answer` writes the answers.

    Attributes:
        calibrates: whether `calibrate` chooses anything.
    """

    calibrates = False

    def __init__(self, task: Task) -> None:
        self.task = task

    # What a subclass may change

    @classmethod
    def example(cls, id: str, text: str) -> Example:
        """Return an example without a reference for an input that a user typed; by default the
        text is the source.

        Raises:
            ValueError, OSError: the text names something that does not exist.
        """
        language = language_by_letters(text)
        language = "en" if language in ("und", "und-Latn") else language
        return Example(id, text, (), source_language=language)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of examples that the model does not read to their end, and a phrase
        that follows "12 of 100" in a message; the phrase is empty if sources are never cut.
        """
        return 0, ""

    def signature(self, mode: Mode) -> str:
        """Return the settings of answering that belong in the signatures of scores, such as
        "|context:256"; see `evaluation.scoring.signed`.
        """
        return ""

    def samples(self) -> list[str]:
        """Return a few outputs as text, to be logged at each validation."""
        return []

    def calibrate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """Choose settings of answering, such as a threshold, by the answers of a validation within
        training; return the answers under the settings chosen.

        Every process gets all answers and must choose the same. The choice belongs in a buffer of
        the task, so that checkpoints hold it. A subclass that chooses sets `calibrates`.
        """
        return list(predictions)

    def benchmark_step(self, examples: Sequence[Example]) -> None:
        """Do as much work as answering these examples in a validation takes a trained model,
        whatever the present weights, so that a validation can be timed before training.
        """
        self.task.answer(examples)

    # Evaluation

    def all_metrics(self, language: str) -> list[Metric]:
        """Return the metrics that score answers in a language: the task's, then the extra ones."""
        return [*self.task.metrics(language), *self.task.extra_metrics]

    @torch.no_grad()
    def predict(self, batches: Iterable[Sequence[Example]]) -> Iterator[Prediction]:
        """Yield predictions batch by batch, in evaluation mode; the mode before is restored."""
        task = self.task
        training = task.training
        task.eval()
        try:
            for batch in batches:
                with weights_cast_once(task.device.type):
                    predictions = task.answer(batch)
                yield from predictions
        finally:
            task.train(training)

    @property
    def is_calibrating(self) -> bool:
        """True if the validation under way is part of a training, so that `calibrate` follows."""
        task = self.task
        return (
            task._trainer is not None
            and task.trainer.validating
            and (task.trainer.state.fn == "fit" or task.is_candidate)
        )

    # Search

    @property
    def limit(self) -> str:
        """Setting at which answers are cut, such as "max_length=128"; empty if there is none."""
        search = self.task.search
        longest = self.task.max_length
        if longest is None or search is None or isinstance(search, CtcSearch):
            return ""
        return f"max_length={longest}"

    @property
    def all_ranks_done(self) -> Callable[[bool], bool]:
        """Function for a search: given whether this process is done, returns whether all processes
        that compute the same answer are.
        """
        task = self.task
        if task._trainer is not None and splits_layers(task.trainer):
            return agreement(task.trainer)
        return no_sync

    def use_search(self, search: AnySearch | None, fusion: Fusion | None = None) -> None:
        """Let the task answer by this search, and with this language model; None keeps its own.

        Raises:
            ValueError: the task does not support one of them.
        """
        task = self.task
        kind = type(task).__name__
        chosen = task.search if search is None else search
        names = {f"search={type(search).__name__}": search, "fusion": fusion}
        given = " and ".join(name for name, value in names.items() if value)
        if given and task.search is None:
            raise ValueError(f"{given}: {kind} does not generate token by token; leave it out")
        if search is not None and not isinstance(search, task.searches):
            fits = " or ".join(each.__name__ for each in task.searches)
            raise ValueError(
                f"{given}: {kind} needs a search of the kind {fits}; choose one of "
                "lslm_lightning.decoding"
            )
        if fusion is not None and chosen is not None and not chosen.supports_fusion:
            raise ValueError(
                f"{given}: {type(chosen).__name__} supports no language model; use CtcPrefixBeam "
                "or JointBeam (--search beam), or leave fusion out"
            )
        task.search = chosen
        task.fusion = task.fusion if fusion is None else fusion
