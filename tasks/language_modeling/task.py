"""A language model: trained on windows, tested by the exact probability of whole texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Metric, Mode, Prediction
from lslm_lightning.metrics.likelihood import BitsPerByte, NatsPerToken, Perplexity, WordPerplexity
from lslm_lightning.systems.baselines import Xz
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.task import Task


class LanguageModeling(Task):
    """Loss in nats per token; perplexity per token and per word; bits per byte, which compares
    models whatever their tokenizers.
    """

    headline = "bits_per_byte"

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return [BitsPerByte(), NatsPerToken(), Perplexity(), WordPerplexity(language)]

    def validation_values(self, nats: float, n_token: int) -> dict[str, float]:
        values = super().validation_values(nats, n_token) | {
            "val/perplexity": math.exp(min(700.0, nats / max(1, n_token)))
        }
        data = self.trainer.datamodule
        if self._spells_bytes(data):
            values["val/bits_per_byte"] = (
                nats / math.log(2) / (data.n_byte("val") * n_token / data.counts["val_tokens"])
            )
        return values

    def validation_metrics(self, data: Any) -> list[str]:
        of_bytes = ["val/bits_per_byte"] if self._spells_bytes(data) else []
        return list(dict.fromkeys([*super().validation_metrics(data), "val/perplexity", *of_bytes]))

    def _spells_bytes(self, data: Any) -> bool:
        """Whether the tokens of the validation split say all of its bytes."""
        is_lossless = self.tokenizer.lossless
        is_characters = self.tokenizer.kind == "characters"
        return is_lossless or (is_characters and not data.n_unknown("val"))

    def baselines(self, data: Any) -> list[Any]:
        return [Xz()]

    def samples(self) -> list[str]:
        decoded = self.continue_rows(
            [[self.tokenizer.eos_id]] * 3, min(100, self.max_length, self.reach or self.max_length)
        )
        return [
            self.tokenizer.decode(ids[:n])
            for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
        ]

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        from tasks.language_modeling.report import sections

        return sections(self, data, predictions)

    @classmethod
    def sections_of(
        cls, data: Any, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Any]:
        from tasks.language_modeling.report import compared

        return compared(data, split, outputs)


class LanguageModelingTask(LanguageModeling, CausalTask):
    """A neural language model; see `CausalTask`."""

    def signature_of_answers(self, mode: Mode) -> str:
        window = "" if self.stride is None else f"|context:{self.context}|stride:{self.stride}"
        return (
            ""
            if mode == "generate"
            else f"{window}{self.signature_of_spelling}|tokens:{self.tokenizer.digest[:8]}"
        )
