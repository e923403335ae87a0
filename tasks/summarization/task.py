"""Summarization, tested by ROUGE of real answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.systems.baselines import RuleBaseline, most_frequent, random_answer
from lslm_lightning.text.sentences import split_sentences
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task


class Summarizer(Task):
    """ROUGE-1, 2, L and Lsum by rouge-score; the best checkpoint is the one with the best
    ROUGE-L.
    """

    monitor = "val/rougeL"
    higher_is_better = True
    headline = "rougeL"

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [
            Rouge("1", language),
            Rouge("2", language),
            Rouge("L", language),
            Rouge("Lsum", language),
        ]

    def baselines(self, data: Any) -> list[Any]:
        """What needs no model: the first sentence, a name where the corpus has one, the most
        frequent and a random training summary.
        """
        trained = data.corpus.rows("train") if "train" in data.corpus.splits else []
        known = [summary for row in trained for summary in row["summary"][:1]]
        rows = {row["id"]: row for row in data.corpus.rows("test")}

        def first_sentence(example: Example) -> str:
            # a docstring's lines are wrapped, other documents' are not
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

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.summarization.report import sections

        return sections(self, data, predictions)

    @classmethod
    def sections_of(
        cls, data: Any, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Any]:
        from tasks.summarization.report import compared

        return compared(data.examples(split), outputs)


class SummarizationTask(Summarizer, SequenceToSequenceTask):
    """Summaries that are written, token by token."""
