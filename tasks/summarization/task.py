"""Summarization, tested by ROUGE of real beam search."""

from collections.abc import Sequence
from typing import Any

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.systems.baselines import Rule, first_sentences, most_frequent, random_answer
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask


class SummarizationTask(SequenceToSequenceTask):
    """ROUGE-1, 2, L and Lsum by rouge-score; the best checkpoint is the one with the best ROUGE-L."""

    monitor, higher_is_better = "val/rougeL", True
    headline = "rougeL"

    def metrics(self, language: str) -> list[Metric]:
        return [Rouge("1", language), Rouge("2", language), Rouge("L", language), Rouge("Lsum", language)]

    def baselines(self, data: Any) -> list[Any]:
        """What needs no model: the first sentence, a name where the corpus has one, the most frequent and a random training summary."""
        known = [summary for row in data.corpus.rows("train") for summary in row["summary"][:1]]
        names = {row["id"]: row["name"] for row in data.corpus.rows("test") if row.get("name")}
        named = [Rule("bare name", lambda example: names.get(example.id, ""))] if names else []
        return [first_sentences(1), *named, most_frequent(known), random_answer(known)]

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.summarization.report import sections

        return sections(self, data, predictions)
