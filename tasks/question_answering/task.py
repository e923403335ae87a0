"""Question answering, tested by exact match and F1 of real answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task
from tasks.question_answering.baselines import FrequentSpan, NoAnswer, WordOverlap
from tasks.question_answering.data import Question, as_question


class QuestionAnsweringTask(Task):
    """Exact match and F1 as SQuAD and CMRC 2018 define them; the best checkpoint is the one with
    the best F1.
    """

    monitor = "val/f1"
    higher_is_better = True
    headline = "f1"

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [TokenF1(language), ExactMatch(language)]

    @classmethod
    def example(cls, id: str, given: str) -> Question:
        """A question, a line end or a tab, and its passage."""
        return as_question(super().example(id, given))

    def baselines(self, data: Any) -> list[Any]:
        """What needs no model: no answer at all, a frequent one, the sentence with most words of
        the question.
        """
        trained = data.corpus.rows("train") if "train" in data.corpus.splits else []
        return [
            NoAnswer(),
            FrequentSpan([answer for row in trained for answer in row["answers"]]),
            WordOverlap(),
        ]

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.question_answering.report import sections

        return sections(data.examples("test"), predictions)

    @classmethod
    def sections_of(
        cls, data: Any, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Any]:
        from tasks.question_answering.report import compared

        return compared(data.examples(split), outputs)


class GenerativeTask(QuestionAnsweringTask, SequenceToSequenceTask):
    """Answers that are written, token by token; none is an empty text."""
