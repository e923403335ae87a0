"""Documents and their summaries."""

from collections.abc import Mapping
from typing import Any

from lslm_lightning.contracts import Example
from lslm_lightning.training.pair_data import PairData


class SummarizationData(PairData):
    """A document a row, with one or more reference summaries; documents longer than `max_source_length` tokens are cut.

    Args:
        first_reference_only: score against the first reference alone (the original one), where a corpus has several.
    """

    def __init__(
        self,
        *args: Any,
        max_source_length: int = 400,
        max_target_length: int = 100,
        truncate: bool = True,
        first_reference_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, max_source_length=max_source_length, max_target_length=max_target_length, truncate=truncate, **kwargs)
        self.first_reference_only = first_reference_only

    def to_example(self, row: Mapping[str, Any]) -> Example:
        language = next(iter(self.corpus.languages), "en")
        references = row["summary"][:1] if self.first_reference_only else row["summary"]
        return Example(row["id"], row["document"], tuple(references), language, language)
