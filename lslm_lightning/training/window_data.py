"""Windows of running text, for language modeling."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.data.packing import Windows, pack, packed_name
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.data import TaskData


class PackedText:
    """A row of ids; `text[starts]` is a batch of windows of `context` + 1 ids, padded with `pad_id` behind the end of the row."""

    def __init__(self, ids: np.ndarray, context: int, pad_id: int) -> None:
        self.ids, self.context, self.pad_id = ids, context, pad_id

    def __getitem__(self, starts: Sequence[int]) -> WindowBatch:
        positions = np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.context + 1)
        inside = positions < len(self.ids)
        ids = np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], self.pad_id)
        return WindowBatch(torch.from_numpy(ids.astype(np.int64)), int(inside[:, 1:].sum()))


class WindowData(TaskData):
    """Texts packed into one memory-mapped row of ids, `</s>` after each; windows of `context` tokens train on it.

    Validation reads its whole split once, in windows that do not overlap.

    Args:
        context: tokens a window reads and predicts.
        batch_size: windows in one batch on one device.
        language: code of the texts' language, for word counts and fonts; by default what the corpus says, or what its script tells.
    """

    fields = ("text",)
    mode = "log_prob"

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: dict[str, Any] | None = None,
        seed: int = 0,
        context: int = 256,
        batch_size: int = 16,
        num_workers: int = 0,
        language: str | None = None,
    ) -> None:
        super().__init__(corpus, tokenizer, columns, seed, n_validation_example=0, num_workers=num_workers)
        if context < 1 or batch_size < 1:
            raise ValueError(f"context={context} and batch_size={batch_size} must both be at least 1")
        self.context, self.batch_size, self.given_language = context, batch_size, language
        self._n_byte: dict[str, int] = {}

    def texts(self, split: str) -> Iterable[str]:
        """The documents of a split."""
        for row in self.rows(split):
            yield row["text"]

    def training_texts(self) -> Iterable[str]:
        return self.texts("train")

    def text_key(self) -> str:
        return "text"

    def to_example(self, row: Mapping[str, Any]) -> Example:
        return Example(row["id"], "", (row["text"],), self.language, self.language)

    @cached_property
    def language(self) -> str:
        """Of the texts; see `language_of`."""
        return self.language_of(self.texts(self.corpus.splits[0]), self.given_language)

    def packed(self, split: str) -> PackedText:
        """The split as one row of ids, made once and then memory-mapped."""
        path = cache_directory() / "packed" / packed_name(f"{self.corpus.digest(split)}{self.own_code()}", self.tokenizer.digest)
        ids = pack(self.texts(split), self.tokenizer, path)
        self.counts[f"{split}_tokens"] = len(ids) - 1
        return PackedText(ids, self.context, self.tokenizer.pad_id)

    def n_byte(self, split: str) -> int:
        """UTF-8 bytes of the split's texts."""
        if split not in self._n_byte:
            self._n_byte[split] = sum(len(text.encode()) for text in self.texts(split))
        return self._n_byte[split]

    def batching(self) -> str:
        return f"context {self.context}, batch_size {self.batch_size}"

    def train_dataloader(self) -> DataLoader:
        text = self.packed("train")
        self.train_stream = self.stream(Windows(len(text.ids), self.context, self.batch_size, self.seed))
        return self.loader(text, self.train_stream)

    def val_dataloader(self) -> DataLoader:
        text = self.packed("val")
        self.counts["val_unknown_tokens"] = 0 if self.tokenizer.unk_id is None else int((text.ids == self.tokenizer.unk_id).sum())
        starts = np.arange(0, len(text.ids) - 1, self.context)
        batches = [starts[i : i + self.batch_size] for i in range(0, len(starts), self.batch_size)]
        return self.loader(text, self.share_of(batches))
