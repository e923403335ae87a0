"""Summarization, evaluated by ROUGE of the summaries."""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Example, Metric, Prediction, System
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.systems.baselines import RuleBaseline, most_frequent, random_answer
from lslm_lightning.text.sentences import split_sentences
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task
from lslm_lightning.training.task_report import Section, TaskReport
from lslm_lightning.types import JsonObject


class SummarizationReport(TaskReport):
    """Baselines and report sections of summarization."""

    task: "Summarizer"

    def baselines(self, data: TaskData) -> list[System]:
        """Return baselines without a model: the first sentence, the name of the documented object
        if the corpus has it, and the most frequent and a random training summary.
        """
        trained = data.corpus.rows("train") if "train" in data.corpus.splits else []
        known = [summary for row in trained for summary in row["summary"][:1]]
        rows: dict[str, JsonObject] = {str(row["id"]): row for row in data.corpus.rows("test")}

        def first_sentence(example: Example) -> str:
            # rows of docstrings have `body`, whose lines are wrapped
            body = rows[example.id].get("body")
            text = example.source if body is None else " ".join(body.split())
            return next(iter(split_sentences(text, example.language)), "")

        named = (
            [RuleBaseline("bare name", lambda e: rows[e.id]["name"])]
            if all(row.get("name") for row in rows.values())
            else []
        )
        return [
            RuleBaseline("first sentence", first_sentence),
            *named,
            *([most_frequent(known), random_answer(known)] if known else []),
        ]

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        from tasks.summarization.report import sections

        return sections(data, predictions)

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        from tasks.summarization.report import compared

        return compared(data.examples(split), outputs)


class Summarizer(Task):
    """Metrics of summarization: ROUGE-1, 2, L and Lsum of rouge-score; the best checkpoint has the
    highest ROUGE-L.
    """

    monitor = "val/rougeL"
    higher_is_better = True
    headline = "rougeL"
    report_class = SummarizationReport

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [
            Rouge("1", language),
            Rouge("2", language),
            Rouge("L", language),
            Rouge("Lsum", language),
        ]


class SummarizationTask(Summarizer, SequenceToSequenceTask):
    """Summarization by a sequence-to-sequence model."""
