"""Translation, evaluated by corpus BLEU, chrF and TER of beam search outputs."""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Metric, Prediction, System
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.systems.baselines import CopySource
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task_report import Section, TaskReport


class TranslationReport(TaskReport):
    """Baselines and report sections of translation."""

    task: "TranslationTask"

    def baselines(self, data: TaskData) -> list[System]:
        return [CopySource()]

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        from tasks.translation.report import sections

        return sections(self.task, data, predictions)

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        from tasks.translation.report import compared

        return compared(data.examples(split), outputs)


class TranslationTask(SequenceToSequenceTask):
    """Translation scored by BLEU, chrF and TER of sacreBLEU, whose tokenizer depends on the target
    language; the best checkpoint has the highest BLEU.
    """

    monitor = "val/bleu"
    higher_is_better = True
    headline = "bleu"
    report_class = TranslationReport

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [Bleu(language), Chrf(), Ter(language)]
