"""Batches of a token budget, for texts that are stored as rows of ids."""

from abc import abstractmethod
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader

from lslm_lightning.data.batching import TokenBudget
from lslm_lightning.training.data import Sizes, TaskData


class Rows(Protocol):
    """Encoded examples; `rows[indices]` is a padded batch."""

    @property
    def lengths(self) -> np.ndarray:
        """Lengths (n_row, n_side) of each row, such as source and target; see `TokenBudget`."""

    def __getitem__(self, indices: Any) -> Any: ...


class BudgetData(TaskData):
    """Examples of similar length in batches of a token budget.

    Args:
        max_tokens: padded positions, summed over all sides, in one training batch on one device.
    """

    def __init__(self, *args: Any, max_tokens: int = 4096, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_tokens = max_tokens

    @abstractmethod
    def encoded(self, split: str) -> Rows:
        """Return the encoded examples of a split that can be trained on; counts in `counts` what is
        left out or cut.
        """

    @cached_property
    def training_rows(self) -> Rows:
        """The encoded training split, computed once."""
        return self.encoded("train")

    def sizes(self) -> Sizes:
        rows = self.training_rows
        plan = self.plan(rows)
        batches = sorted(plan(0), key=lambda batch: len(batch) * plan.lengths[batch].max(0).sum())
        return Sizes(rows[batches[len(batches) // 2]], rows[batches[-1]], plan.__len__)

    def plan(self, rows: Rows) -> TokenBudget:
        """Return the assignment of rows to batches."""
        return TokenBudget(rows.lengths, self.max_tokens, self.seed)

    def train_dataloader(self) -> DataLoader:
        rows = self.training_rows
        plan = self.plan(rows)
        self.counts["train_padding_share"] = plan.padding_share()
        self.train_stream = self.stream(plan)
        return self.loader(rows, self.train_stream)

    def val_dataloader(self) -> DataLoader:
        rows = self.encoded("val")
        if not len(rows.lengths):
            raise ValueError(
                f"corpus {self.corpus_name}: nothing in its split val can be read; look at it, "
                "and at the lengths"
            )
        return self.loader(rows, self.share_of(TokenBudget(rows.lengths, self.max_tokens)(0)))
