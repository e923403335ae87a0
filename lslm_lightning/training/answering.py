"""Rules by which a task answers examples: search, length limits and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from lslm_lightning.contracts import Example, Metric, Mode, Prediction
from lslm_lightning.decoding import AnySearch, CtcSearch, Fusion, Search
from lslm_lightning.decoding.engine import open_engine
from lslm_lightning.decoding.search import no_sync
from lslm_lightning.text.identification import language_by_letters
from lslm_lightning.training.distributed.fsdp import agreement, splits_layers
from lslm_lightning.training.precision import weights_cast_once

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task


class Answering:
    """Rules by which a task answers examples; a subclass overrides those that differ for its task.

    Args:
        task: the task whose `answer` writes the answers.

    Attributes:
        calibrates: True if `calibrate` of the subclass chooses settings, which are then saved with
            the best checkpoint.
        columns: names of the lines that the text of `example` consists of, where texts come as rows
            of a table; all but the last are one line each.
    """

    calibrates = False
    columns: tuple[str, ...] = ("source",)

    def __init__(self, task: Task) -> None:
        self.task = task

    # What a subclass may change

    @classmethod
    def example(cls, id: str, text: str) -> Example:
        """Return an example without a reference for a text that a user typed. By default the text
        is the source.

        Raises:
            ValueError, OSError: the text names something that does not exist, such as a file.
        """
        language = language_by_letters(text)
        language = "en" if language in ("und", "und-Latn") else language
        return Example(id, text, (), source_language=language)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return (number of examples whose source the model truncates, phrase that follows "12 of
        100" in a message). The phrase is empty if sources are never truncated.
        """
        return 0, ""

    def signature(self, mode: Mode) -> str:
        """Return the answering settings to append to the signatures of scores, such as
        "|context:256". A signature is the text that says how a score was computed.

        Args:
            mode: ability that is evaluated, such as "generate" or "log_prob".
        """
        return ""

    def samples(self) -> list[str]:
        """Return a few outputs of the model as text, to be logged at each validation."""
        return []

    def calibrate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """Choose settings of answering, such as a threshold, from the answers of a validation
        during training. Return the answers under the chosen settings.

        Every process gets all answers and must make the same choice. Store the choice in a buffer
        of the task, so that checkpoints contain it. A subclass that chooses settings sets
        `calibrates`.
        """
        return list(predictions)

    def benchmark_step(self, examples: Sequence[Example]) -> None:
        """Do as much work as a trained model needs to answer these examples in a validation,
        whatever the current weights, so that a validation can be timed before training.
        """
        self.task.answer(examples)

    # Evaluation

    def all_metrics(self, language: str) -> list[Metric]:
        """Return all metrics that score answers in a language: those of the task, then
        `extra_metrics`.
        """
        return [*self.task.metrics(language), *self.task.extra_metrics]

    def metrics_of(self, examples: Sequence[Example]) -> list[Metric]:
        """Return all metrics that score answers to these examples, in the language of the first
        one; an empty list if there are no examples.
        """
        return self.all_metrics(examples[0].language) if examples else []

    @torch.no_grad()
    def predict(self, batches: Iterable[Sequence[Example]]) -> Iterator[Prediction]:
        """Yield predictions batch by batch in evaluation mode. The previous training mode is
        restored at the end.
        """
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
        """True if the current validation belongs to a training or to its final choice of a
        checkpoint, so that `calibrate` is called after it.
        """
        task = self.task
        return (
            task._trainer is not None
            and task.trainer.validating
            and (task.trainer.state.fn == "fit" or task.is_candidate)
        )

    # Search

    @property
    def limit(self) -> str:
        """Length limit of answers as text, such as "max_length=128"; empty if there is none."""
        search = self.task.search
        longest = self.task.max_length
        if longest is None or search is None or isinstance(search, CtcSearch):
            return ""
        return f"max_length={longest}"

    @property
    def all_ranks_done(self) -> Callable[[bool], bool]:
        """Function that a search calls with whether this process is done. It returns True once all
        processes that compute the same answer are done.
        """
        task = self.task
        if task._trainer is not None and splits_layers(task.trainer):
            return agreement(task.trainer)
        return no_sync

    def use_engine(self, name: str, dtype: str) -> None:
        """Let an engine compute the model in place of PyTorch.

        Args:
            name: name of the engine, as in `decoding.engine.ENGINES`.
            dtype: type of the weights.

        Raises:
            ValueError: there is no such engine, it is not installed, or it cannot express the model
                or the search.
        """
        self.task.engine = open_engine(name, self.task, dtype, self.task.device.type)
        self.check_engine()

    def check_engine(self) -> None:
        """Raise ValueError if the engine has no search like that of the task."""
        task = self.task
        if task.engine is None or task.search is None:
            return
        if not isinstance(task.search, Search):
            raise ValueError(
                f"search={type(task.search).__name__} is no search of the engine "
                f"{task.engine.name}; take Greedy or Beam"
            )
        task.engine.check_search(task.search, task.min_length or 0)

    def use_search(self, search: AnySearch | None, fusion: Fusion | None = None) -> None:
        """Set the search and the language model with which the task answers. None keeps the current
        one.

        Args:
            search: search that finds the answers.
            fusion: language model that the search combines with the task's model.

        Raises:
            ValueError: the task does not support the search, or the search no language model.
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
