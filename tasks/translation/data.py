"""Sentence pairs of one direction of a parallel corpus."""

from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Example
from lslm_lightning.training.pair_data import PairData
from tasks.translation import prompt


class TranslationData(PairData):
    """Translation from `source_language` to `target_language`.

    Args:
        source_language: a language code of the corpus, such as "en".
        target_language: another one.
    """

    def __init__(self, *args: Any, source_language: str, target_language: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source_language, self.target_language = source_language, target_language
        self.languages = self.fields = (source_language, target_language)

    def text_key(self) -> str:
        return f"{self.source_language} {self.target_language}"

    def to_example(self, row: Mapping[str, Any]) -> Example:
        source, target = row[self.source_language], row[self.target_language]
        return Example(row["id"], source, (target,), self.target_language, self.source_language)

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots)
