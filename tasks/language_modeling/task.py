"""Language models, trained on windows of text and evaluated by the exact probability of whole
texts.
"""

import math
from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Metric, Mode, Prediction, System
from lslm_lightning.metrics.likelihood import BitsPerByte, NatsPerToken, Perplexity, WordPerplexity
from lslm_lightning.systems.baselines import Xz
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.task import Task
from lslm_lightning.training.task_report import Section, TaskReport
from lslm_lightning.training.validation import Validation
from lslm_lightning.training.window_data import WindowData


class LanguageModelValidation(Validation):
    """Loss, perplexity and bits per byte of a language model on the validation split."""

    def values(self, nats: float, n_token: int, data: TaskData) -> dict[str, float]:
        values = {"val/perplexity": math.exp(min(700.0, nats / max(1, n_token)))}
        assert isinstance(data, WindowData)
        if self._covers_bytes(data):
            values["val/bits_per_byte"] = (
                nats / math.log(2) / (data.n_byte("val") * n_token / data.counts["val_tokens"])
            )
        return values

    def names(self, data: TaskData) -> list[str]:
        assert isinstance(data, WindowData)
        of_bytes = ["val/bits_per_byte"] if self._covers_bytes(data) else []
        return list(dict.fromkeys([*super().names(data), "val/perplexity", *of_bytes]))

    def _covers_bytes(self, data: WindowData) -> bool:
        """Return whether the tokens of the validation split cover all bytes of its texts."""
        is_lossless = self.task.tokenizer.lossless
        is_characters = self.task.tokenizer.kind == "characters"
        return is_lossless or (is_characters and not data.n_unknown("val"))


class LanguageModelAnswering(Answering):
    """Answers of a language model; its samples are texts generated without a prompt."""

    task: "LanguageModel"

    def samples(self) -> list[str]:
        task = self.task
        length = min(100, task.max_length, task.max_context or task.max_length)
        decoded = task.continue_rows([[task.tokenizer.eos_id]] * 3, length)
        return [
            task.tokenizer.decode(ids[:n])
            for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
        ]


class LanguageModelReport(TaskReport):
    """Baselines and report sections of language models."""

    task: "LanguageModelingTask"

    def baselines(self, data: TaskData) -> list[System]:
        return [Xz()]

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        from tasks.language_modeling.report import sections

        return sections(self.task, data, predictions)

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        from tasks.language_modeling.report import compared

        return compared(data, split, outputs)


class LanguageModeling(Task):
    """Metrics of language models: nats per token, perplexity per token and per word, and bits per
    byte. Bits per byte is comparable between tokenizers.
    """

    headline = "bits_per_byte"
    answering_class = LanguageModelAnswering
    validation_class = LanguageModelValidation
    report_class = LanguageModelReport

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [BitsPerByte(), NatsPerToken(), Perplexity(), WordPerplexity(language)]


class WindowAnswering(LanguageModelAnswering):
    """Answers of a neural language model; the signature of its scores states the windows that it
    reads.
    """

    task: "LanguageModelingTask"

    def signature(self, mode: Mode) -> str:
        task = self.task
        if mode == "generate":
            return ""
        window = "" if task.stride is None else f"|context:{task.context}|stride:{task.stride}"
        return f"{window}{task.signature_of_spelling}|tokens:{task.tokenizer.digest[:8]}"


class LanguageModelingTask(LanguageModeling, CausalTask):
    """Neural language model; see `CausalTask`."""

    answering_class = WindowAnswering
