"""Translation, tested by corpus BLEU, chrF and TER of real beam search."""

from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.systems.baselines import CopySource
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask


class TranslationTask(SequenceToSequenceTask):
    """BLEU, chrF and TER by sacreBLEU, its tokenizer chosen by the target language; the best
    checkpoint is the one with the best BLEU.
    """

    monitor = "val/bleu"
    higher_is_better = True
    headline = "bleu"

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [Bleu(language), Chrf(), Ter(language)]

    def baselines(self, data: Any) -> list[Any]:
        return [CopySource()]

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.translation.report import sections

        return sections(self, data, predictions)

    @classmethod
    def sections_of(
        cls, data: Any, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Any]:
        from tasks.translation.report import compared

        return compared(data.examples(split), outputs)
