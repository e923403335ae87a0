"""Question answering, evaluated by exact match and F1 of the predicted answers."""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Metric, Prediction, System
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.sequence_to_sequence import (
    SequenceToSequenceAnswering,
    SequenceToSequenceTask,
)
from lslm_lightning.training.task import Task
from lslm_lightning.training.task_report import Section, TaskReport
from tasks.question_answering.baselines import FrequentSpan, NoAnswer, WordOverlap
from tasks.question_answering.data import Question, as_question


class QuestionAnswering(Answering):
    """Answers to questions that a user types."""

    columns = ("question", "context")

    @classmethod
    def example(cls, id: str, text: str) -> Question:
        """Return a question from text of the form: question, line end or tab, passage."""
        return as_question(super().example(id, text))


class QuestionAnsweringReport(TaskReport):
    """Baselines and report sections of question answering."""

    def baselines(self, data: TaskData) -> list[System]:
        """Return baselines without a model: no answer, the most frequent answer, and the sentence
        that shares the most words with the question.
        """
        trained = data.corpus.rows("train") if "train" in data.corpus.splits else []
        return [
            NoAnswer(),
            FrequentSpan([answer for row in trained for answer in row["answers"]]),
            WordOverlap(),
        ]

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        from tasks.question_answering.report import sections

        return sections(data.examples("test"), predictions)

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        from tasks.question_answering.report import compared

        return compared(data.examples(split), outputs)


class QuestionAnsweringTask(Task):
    """Metrics of question answering: exact match and F1 as SQuAD and CMRC 2018 define them; the
    best checkpoint has the highest F1.
    """

    monitor = "val/f1"
    higher_is_better = True
    headline = "f1"
    answering_class = QuestionAnswering
    report_class = QuestionAnsweringReport

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [TokenF1(language), ExactMatch(language)]


class GenerativeAnswering(QuestionAnswering, SequenceToSequenceAnswering):
    """Answers to questions, generated token by token."""


class GenerativeTask(QuestionAnsweringTask, SequenceToSequenceTask):
    """Question answering by a sequence-to-sequence model; an empty output means no answer."""

    answering_class = GenerativeAnswering
