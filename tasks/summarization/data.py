"""Documents and their summaries."""

from collections.abc import Sequence
from functools import cached_property

from lslm_lightning.contracts import Example
from lslm_lightning.data.canaries import Canaries
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.budget_data import MAX_TOKENS
from lslm_lightning.training.data import EVAL_TOKENS, N_VALIDATION_EXAMPLE, TaskData
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.types import JsonObject
from tasks.summarization import prompt

MAX_SOURCE_LENGTH = 400  # default of the number of tokens that are read of a document


class DocumentData(TaskData):
    """Summarization data: one document per row, with one or more reference summaries.

    Attributes:
        first_reference_only: score against the first reference alone, which is the original
            summary.
        instruction: instruction in the prompt for systems that follow instructions. It depends on
            the corpus, whose summaries may be subject lines, headlines or sentences.
    """

    fields = ("document", "summary")
    source_fields = ("document",)
    first_reference_only = False
    instruction = prompt.INSTRUCTION

    @cached_property
    def language(self) -> str:
        """Language code of documents and summaries; see `language_of`."""
        rows = self.rows(self.language_split)
        summaries = (row["summary"][0] for row in rows)
        documents = (row["document"] for row in rows)
        return self.language_of(summaries, self.given_language, documents)

    def to_example(self, row: JsonObject) -> Example:
        references = row["summary"][:1] if self.first_reference_only else row["summary"]
        return Example(row["id"], row["document"], tuple(references), self.language, self.language)

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots, self.instruction)


class SummarizationData(DocumentData, PairData):
    """Documents with summaries, for models that write summaries. Documents are cut after
    `max_source_length` tokens.

    Args:
        max_source_length: as in `PairData`; 400 by default.
        first_reference_only: score against the first reference alone, which is the original
            summary.
        language: language code of the texts, which determines the tokens of ROUGE; by default the
            language of the corpus, or the language identified from the texts.
        instruction: instruction in the prompt for systems that follow instructions. It depends on
            the corpus, whose summaries may be subject lines, headlines or sentences.
    """

    usual_source_length = MAX_SOURCE_LENGTH

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
        max_tokens: int = MAX_TOKENS,
        max_source_length: int | None = None,
        max_target_length: int = 100,
        truncate: bool = True,
        first_reference_only: bool = False,
        language: str | None = None,
        instruction: str = prompt.INSTRUCTION,
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
        self.first_reference_only = first_reference_only
        self.given_language = language
        self.instruction = instruction
