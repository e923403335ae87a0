"""N-gram model in memory or memory-mapped from disk, and the probabilities that it assigns."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lslm_lightning.ngram.estimation import CountTable


class NgramModel:
    """N-gram model: one table per order; word ids are 0 to vocab_size - 1.

    Args:
        tables: tables by order, from 1 on.
        bos: word id that precedes every sentence and is never predicted.
    """

    def __init__(self, tables: Sequence[CountTable], vocab_size: int, bos: int) -> None:
        self.tables = list(tables)
        self.vocab_size = vocab_size
        self.bos = bos

    @property
    def order(self) -> int:
        return len(self.tables)

    def indices(self, ids: np.ndarray) -> list[np.ndarray]:
        """Return, for each order, the table index of the n-gram that ends at each word: arrays (n,)
        int64.

        The index is -1 if the table lacks the n-gram.
        """
        indices = [ids.astype(np.int64)]
        for n in range(1, self.order):
            keys = self.tables[n].keys
            index = np.full(len(ids), -1)
            here = n + np.flatnonzero(indices[-1][n:] >= 0)
            wanted = indices[-1][here] * self.vocab_size + ids[here - n]
            at = np.searchsorted(keys, wanted)
            there = (
                keys[np.minimum(at, len(keys) - 1)] == wanted
                if len(keys)
                else np.zeros(len(at), bool)
            )
            index[here[there]] = at[there]
            indices.append(index)
        return indices

    def log_probs(self, ids: np.ndarray) -> np.ndarray:
        """Return the natural log probability of each word given the words before it: (n,) float64.

        The value at each `bos` is 0.

        Args:
            ids: (n,) word ids of whole sentences, each preceded by `bos`.
        """
        indices = self.indices(ids)
        log_prob = self.tables[0].log_prob[ids].astype(np.float64)
        for n in range(1, self.order):
            context = np.append(-1, indices[n - 1][:-1])
            table = self.tables[n]
            index = indices[n]
            backoff = np.zeros(len(ids))
            known = context >= 0
            backoff[known] = self.tables[n - 1].log_backoff[context[known]]
            log_prob = np.where(
                index >= 0, table.log_prob[index] if len(table.keys) else 0.0, log_prob + backoff
            )
        log_prob[ids == self.bos] = 0.0
        return log_prob

    def log_distribution(self, history: np.ndarray) -> np.ndarray:
        """Return the natural log probability of every word after a history: (vocab_size,) float64.

        Words that are never predicted have -inf.

        Args:
            history: (t,) word ids.
        """
        history = (
            np.asarray(history)[-(self.order - 1) :] if self.order > 1 else np.zeros(0, np.int64)
        )
        contexts = [int(index[-1]) for index in self.indices(history)] if len(history) else []
        index = np.arange(self.vocab_size)
        log_prob = self.tables[0].log_prob.astype(np.float64)
        for n in range(1, len(history) + 1):
            table = self.tables[n]
            context = contexts[n - 1]
            wanted = index * self.vocab_size + history[-n]
            at = np.minimum(np.searchsorted(table.keys, wanted), max(len(table.keys) - 1, 0))
            there = (
                (index >= 0) & (table.keys[at] == wanted)
                if len(table.keys)
                else np.zeros(len(index), bool)
            )
            index = np.where(there, at, -1)
            backoff = self.tables[n - 1].log_backoff[context] if context >= 0 else 0.0
            log_prob = np.where(
                there, table.log_prob[at] if len(table.keys) else 0.0, log_prob + backoff
            )
        log_prob[self.tables[0].log_prob == -np.inf] = -np.inf
        return log_prob

    def words(self, n: int) -> np.ndarray:
        """Return the word ids of all n-grams of order `n`, in table order: (number of n-grams, n)
        int64.
        """
        columns = []
        index = np.arange(len(self.tables[n - 1].keys))
        for table in self.tables[n - 1 : 0 : -1]:
            index, first = np.divmod(table.keys[index], self.vocab_size)
            columns.append(first)
        return np.stack([*columns, index], 1)

    # On disk

    def save(self, folder: Path) -> None:
        """Write the arrays of the model to files that `load` maps into memory.

        Probabilities are stored in single precision, so their sums equal 1 within 1e-6.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for n, table in enumerate(self.tables, 1):
            for name, values in table._asdict().items():
                np.save(
                    folder / f"{n}.{name}.npy",
                    values if name == "keys" else values.astype(np.float32),
                )
        facts = {"order": self.order, "vocab_size": self.vocab_size, "bos": self.bos}
        (folder / "ngram.json").write_text(json.dumps(facts) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "NgramModel":
        """Return the model stored in a folder, with memory-mapped arrays.

        Raises:
            ValueError: a file is missing or damaged.
        """
        try:
            facts = json.loads((folder / "ngram.json").read_text())
            read = [
                [np.load(folder / f"{n}.{name}.npy", mmap_mode="r") for name in CountTable._fields]
                for n in range(1, facts["order"] + 1)
            ]
            return cls([CountTable(*parts) for parts in read], facts["vocab_size"], facts["bos"])
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            MemoryError,
            RecursionError,
        ) as error:
            raise ValueError(f"{folder} holds no n-gram model: {error}") from None
