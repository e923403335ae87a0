"""Documents and their summaries."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from lslm_lightning.contracts import Example
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.pair_data import PairData
from tasks.summarization import prompt


class DocumentData(TaskData):
    """One document per row, with one or more reference summaries.

    Args:
        first_reference_only: score against the first reference alone (the original one), if a
            corpus has several.
        language: code of the texts' language, which decides the tokens of ROUGE; by default that of
            the corpus, or the one identified from the texts.
        instruction: instruction in the prompt of systems that follow instructions; corpora differ
            (subject lines, headlines, sentences).
    """

    fields = ("document", "summary")
    source_fields = ("document",)

    def __init__(
        self,
        *args: Any,
        first_reference_only: bool = False,
        language: str | None = None,
        instruction: str = prompt.INSTRUCTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.first_reference_only = first_reference_only
        self.given_language = language
        self.instruction = instruction

    @cached_property
    def language(self) -> str:
        """Language code of documents and summaries; see `language_of`."""
        rows = self.rows(self.telling_split)
        summaries = (row["summary"][0] for row in rows)
        documents = (row["document"] for row in rows)
        return self.language_of(summaries, self.given_language, documents)

    def to_example(self, row: Mapping[str, Any]) -> Example:
        references = row["summary"][:1] if self.first_reference_only else row["summary"]
        return Example(row["id"], row["document"], tuple(references), self.language, self.language)

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots, self.instruction)


class SummarizationData(DocumentData, PairData):
    """Documents with the summaries to be written; documents longer than `max_source_length` tokens
    are cut.
    """

    def __init__(
        self,
        *args: Any,
        max_source_length: int = 400,
        max_target_length: int = 100,
        truncate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncate=truncate,
            **kwargs,
        )
