"""Translation, tested by corpus BLEU, chrF and TER of real beam search."""

from collections.abc import Sequence
from typing import Any

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.systems.baselines import copy_source
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask


class TranslationTask(SequenceToSequenceTask):
    """BLEU, chrF and TER by sacreBLEU, its tokenizer chosen by the target language; the best checkpoint is the one with the best BLEU."""

    monitor, higher_is_better = "val/bleu", True
    headline = "bleu"

    def metrics(self, language: str) -> list[Metric]:
        return [Bleu(language), Chrf(), Ter(language)]

    def baselines(self, data: Any) -> list[Any]:
        return [copy_source()]

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.translation.report import sections

        return sections(self, data, predictions)
