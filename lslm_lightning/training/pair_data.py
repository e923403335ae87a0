"""Batches of source and target texts, for all tasks that read one text and write another."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lslm_lightning.data.canaries import Canaries
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.batches import PairBatch, Ragged, padded
from lslm_lightning.training.budget_data import MAX_TOKENS, BudgetData
from lslm_lightning.training.data import EVAL_TOKENS, N_VALIDATION_EXAMPLE
from lslm_lightning.types import JsonObject

MAX_LENGTH = 256  # default of the maximal numbers of tokens of a source and of a target


class Pairs:
    """Encoded source and target texts; `pairs[indices]` is a padded batch."""

    def __init__(self, source: Ragged, target: Ragged, pad_id: int) -> None:
        self.source = source
        self.target = target
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.source)

    @property
    def lengths(self) -> np.ndarray:
        """Lengths (n_pair, 2) of source and target, in tokens."""
        return np.stack([self.source.lengths, self.target.lengths], 1)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> PairBatch:
        indices = np.asarray(indices, dtype=np.int64)  # may be empty
        source = padded([self.source[i] for i in indices], self.pad_id)
        target = padded([self.target[i] for i in indices], self.pad_id)
        n_target = int(self.target.lengths[indices].sum()) - len(indices)
        return PairBatch(
            source, source == self.pad_id, target, n_target, int(self.source.lengths[indices].sum())
        )


class PairData(BudgetData[Pairs]):
    """Pairs of texts in batches of a token budget.

    Training pairs with an empty source or target are left out; an empty target is kept if
    `may_be_empty`. Pairs longer than `max_source_length` or `max_target_length` tokens are left out
    too, or cut if `truncate` is set. The numbers of pairs left out and cut are in `counts`.
    Evaluation examples are never left out.

    Args:
        max_tokens: maximal number of padded positions of sources and targets in one training batch
            on one device.
        max_source_length: maximal number of tokens of a training source, 256 by default. With
            `truncate`, the model's setting of this name applies: set it there.
        max_target_length: maximal number of tokens of a target.
        truncate: cut texts that are too long, instead of leaving the pair out.
        canaries: random pairs to plant among the training pairs, by which `lslm audit` measures
            what the model memorizes; null for none.
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
        )
        if truncate and max_source_length is not None:
            self.stated["max_source_length"] = max_source_length
        if max_source_length is None:
            max_source_length = self.usual_source_length
        for name, value in (
            ("max_source_length", max_source_length),
            ("max_target_length", max_target_length),
        ):
            if value < 2:
                raise ValueError(
                    f"{name}={value} must be at least 2 tokens; {MAX_LENGTH} suits sentences"
                )
        self.canaries = canaries
        self.truncate = truncate
        self.max_source_length = max_source_length
        self.max_target_length = max_target_length

    usual_source_length = MAX_LENGTH  # default of `max_source_length`
    may_be_empty = False
    """True if the empty text is a valid target."""

    def to_pairs(self, row: JsonObject) -> list[tuple[str, str]]:
        """Return the (source, target) training pairs of a row. By default it is one pair: the
        source with its first reference.
        """
        example = self.to_example(row)
        return [(example.source, example.references[0] if example.references else "")]

    def training_pairs(self, split: str) -> Iterable[tuple[str, str]]:
        """Return the (source, target) pairs of a split, with the canaries among those of the
        training split.
        """
        rows = self.rows(split)
        pairs = (pair for row in rows for pair in self.to_pairs(row))
        if self.canaries is None or split != "train":
            return pairs
        return self.canaries.insert_pairs(pairs, len(rows))

    def digest(self, split: str) -> str:
        if split == "train" and self.canaries is not None:
            content = f"{super().digest(split)} {self.canaries.key(of_pairs=True)}"
            return hashlib.sha256(content.encode()).hexdigest()
        return super().digest(split)

    def read_length(self, n: int) -> int:
        return min(n, self.max_source_length) if self.truncate else n

    def training_texts(self) -> Iterable[str]:
        for pair in self.training_pairs("train"):
            yield from pair

    def text_key(self) -> str:
        return "source target"

    def encode(self, split: str) -> Pairs:
        texts = [*self.training_pairs(split)]
        tokenizer = self.tokenizer
        sources = [source for source, _ in texts]
        read = self.prompt.ids(tokenizer, sources)
        source = Ragged([*ids, tokenizer.eos_id] for ids in read)
        target = Ragged(
            [tokenizer.bos_id, *ids, tokenizer.eos_id]
            for ids in tokenizer.encode_targets([t for _, t in texts])
        )
        too_long = (source.lengths > self.max_source_length) | (
            target.lengths > self.max_target_length + 1
        )
        empty = self._are_empty(sources, read)
        if not self.may_be_empty:
            [nothing] = tokenizer.encode_targets([""])
            empty |= target.lengths < 3 + len(nothing)
        long = "cut" if self.truncate or split != "train" else "too_long_left_out"
        self.counts |= {
            f"{split}_pairs": len(texts),
            f"{split}_empty_left_out": int(empty.sum()),
            f"{split}_{long}": int(too_long.sum()),
        }
        if split == "train":
            keep = ~empty if self.truncate else ~empty & ~too_long
            source = source.select(keep)
            target = target.select(keep)
        return Pairs(
            self._cut(source, self.max_source_length),
            self._cut(target, self.max_target_length + 1),
            tokenizer.pad_id,
        )

    def _are_empty(self, sources: list[str], read: list[list[int]]) -> npt.NDArray[np.bool_]:
        """Return whether each source has no more tokens than the empty text.

        Args:
            read: ids of each source behind the prefix, where it may share a token with it.
        """
        tokenizer = self.tokenizer
        [nothing] = tokenizer.encode_batch([""])
        longest = len(nothing)
        empty = np.array([len(ids) <= longest for ids in read], dtype=bool)
        if not self.prompt.prefix:
            return empty
        [before] = self.prompt.ids(tokenizer, [""])
        short = [i for i, ids in enumerate(read) if len(ids) <= len(before) + longest + 1]
        plain = tokenizer.encode_batch([sources[i] for i in short])
        empty[short] = [len(ids) <= longest for ids in plain]
        return empty

    def _cut(self, rows: Ragged, longest: int) -> Ragged:
        """Cut each row to at most `longest` ids. A row that is cut keeps its last id, `</s>`."""
        if rows.lengths.max(initial=0) <= longest:
            return rows
        return Ragged(
            row if len(row) <= longest else np.append(row[: longest - 1], row[-1])
            for row in (rows[i] for i in range(len(rows)))
        )

    def batching(self) -> str:
        long = "cut" if self.truncate else "left out"
        prefix = f", prefix {self.prompt.prefix!r}" if self.prompt.prefix else ""
        return (
            f"max_tokens {self.max_tokens}, sources above {self.max_source_length} and "
            f"targets above {self.max_target_length} {long}{prefix}"
        )
