"""Sentence pairs of one direction of a parallel corpus."""

from collections.abc import Mapping, Sequence
from typing import Any

from lslm_lightning.contracts import Example
from lslm_lightning.data.rows import language_field, references_of, text_of
from lslm_lightning.training.data import stated_language
from lslm_lightning.training.pair_data import PairData
from tasks.translation import prompt


class TranslationData(PairData):
    """Translation from `source_language` to `target_language`.

    All target texts of a row are its references, and the first is trained on; several source texts
    are joined.

    Args:
        source_language: a language code of the corpus, such as "en".
        target_language: another one.
    """

    def __init__(
        self, *args: Any, source_language: str, target_language: str, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.source_language = source_language
        self.target_language = target_language
        self.languages = (source_language, target_language)
        self.fields = tuple(map(language_field, self.languages))
        self._codes = (
            stated_language(target_language, "target_language"),
            stated_language(source_language, "source_language"),
        )

    def text_key(self) -> str:
        return f"{self.source_language} {self.target_language}"

    def to_example(self, row: Mapping[str, Any]) -> Example:
        source, target = (row[field] for field in self.fields)
        read = text_of(source, self.corpus.join)
        return Example(row["id"], read, references_of(target), *self._codes)

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots)
