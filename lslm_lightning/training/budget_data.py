"""Training batches with a limited number of tokens, for texts that are stored as rows of ids."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np
from torch.utils.data import DataLoader

from lslm_lightning.data.batching import TokenBudget
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.batches import Batch
from lslm_lightning.training.data import (
    EVAL_TOKENS,
    N_VALIDATION_EXAMPLE,
    Sizes,
    TaskData,
)
from lslm_lightning.training.loaders import batch_loader, rank_share
from lslm_lightning.types import JsonObject

MAX_TOKENS = 4096  # default of `max_tokens`


class Rows(Protocol):
    """Encoded examples; `rows[indices]` is the padded batch of the rows with these indices."""

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each row on each side, such as source and target: (n_row, n_side)."""

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> Batch: ...


RowsT = TypeVar("RowsT", bound=Rows)


class BudgetData(TaskData, Generic[RowsT]):
    """Data module that batches examples of similar length under a token budget.

    Args:
        max_tokens: maximal number of padded positions, summed over all sides, in one training batch
            on one device.
    """

    derived = (*TaskData.derived, "_encoded")

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
    ) -> None:
        super().__init__(
            corpus,
            tokenizer,
            columns,
            seed,
            eval_batch_tokens,
            n_validation_example,
            num_workers,
        )
        self.max_tokens = max_tokens

    @abstractmethod
    def encode(self, split: str) -> RowsT:
        """Encode the examples of a split that can be trained on. The numbers of examples left out
        or cut are stored in `counts`.
        """

    @cached_property
    def _encoded(self) -> dict[str, RowsT]:
        return {}

    def encoded(self, split: str) -> RowsT:
        """Return the encoded examples of a split, which are computed once."""
        if split not in self._encoded:
            self._encoded[split] = self.encode(split)
        return self._encoded[split]

    def sizes(self) -> Sizes:
        rows = self.encoded("train")
        plan = self.plan(rows)
        batches = sorted(plan(0), key=lambda batch: len(batch) * plan.lengths[batch].max(0).sum())
        return Sizes(rows[batches[len(batches) // 2]], rows[batches[-1]], plan.__len__)

    def plan(self, rows: Rows) -> TokenBudget:
        """Return the assignment of rows to batches of at most `max_tokens` padded positions."""
        return TokenBudget(rows.lengths, self.max_tokens, self.seed)

    def train_dataloader(self) -> DataLoader:
        rows = self.encoded("train")
        plan = self.plan(rows)
        self.counts["train_padding_share"] = plan.padding_share()
        return batch_loader(self.trainer, rows, self.stream(plan), self.num_workers)

    def val_dataloader(self) -> DataLoader:
        rows = self.encoded("val")
        if not len(rows.lengths):
            raise ValueError(
                f"corpus {self.corpus_name}: no example of its split val can be used; look at "
                "its texts, and at the maximal lengths in the config"
            )
        batches = TokenBudget(rows.lengths, self.max_tokens)(0)
        return batch_loader(self.trainer, rows, rank_share(self.trainer, batches), self.num_workers)
