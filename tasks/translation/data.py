"""Sentence pairs of a parallel corpus for one direction of translation."""

from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.corpora.rows import language_field, references_of, text_of
from lslm_lightning.data.canaries import Canaries
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.budget_data import MAX_TOKENS
from lslm_lightning.training.corpus_data import stated_language
from lslm_lightning.training.data import EVAL_TOKENS, N_VALIDATION_EXAMPLE
from lslm_lightning.training.pair_data import MAX_LENGTH, PairData
from lslm_lightning.types import JsonObject
from tasks.translation import prompt


class TranslationData(PairData):
    """Sentence pairs for translation from `source_language` to `target_language`.

    All target texts of a row are references, and the first one is the training target. Several
    source texts of a row are joined.

    Args:
        source_language: code of the source language in the corpus, such as "en".
        target_language: code of the target language in the corpus.
    """

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        eval_batch_tokens: int = EVAL_TOKENS,
        n_validation_example: int = N_VALIDATION_EXAMPLE,
        num_workers: int = 0,
        *,
        source_language: str,
        target_language: str,
        max_tokens: int = MAX_TOKENS,
        max_source_length: int | None = None,
        max_target_length: int = MAX_LENGTH,
        truncate: bool = False,
        canaries: Canaries | None = None,
    ) -> None:
        super().__init__(
            corpus,
            tokenizer,
            columns,
            seed,
            eval_batch_tokens,
            n_validation_example,
            num_workers,
            max_tokens=max_tokens,
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncate=truncate,
            canaries=canaries,
        )
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

    def to_example(self, row: JsonObject) -> Example:
        source, target = (row[field] for field in self.fields)
        read = text_of(source, self.corpus.join)
        return Example(row["id"], read, references_of(target), *self._codes)

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots)
