"""An n-gram model in memory or on disk, and what it says."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lslm_lightning.ngram.estimation import CountTable


class NgramModel:
    """Tables of all orders; words are 0 to vocab_size - 1.

    Args:
        bos: the word before the first one of a sentence, which is never predicted.
    """

    def __init__(self, tables: Sequence[CountTable], vocab_size: int, bos: int) -> None:
        self.tables = list(tables)
        self.vocab_size = vocab_size
        self.bos = bos

    @property
    def order(self) -> int:
        return len(self.tables)

    def places(self, ids: np.ndarray) -> list[np.ndarray]:
        """For each order, the places in its table of the n-grams that end at each word, -1 where
        there is none: arrays (n,) int64.
        """
        found = [ids.astype(np.int64)]
        for n in range(1, self.order):
            keys = self.tables[n].keys
            place = np.full(len(ids), -1)
            here = n + np.flatnonzero(found[-1][n:] >= 0)
            wanted = found[-1][here] * self.vocab_size + ids[here - n]
            at = np.searchsorted(keys, wanted)
            there = (
                keys[np.minimum(at, len(keys) - 1)] == wanted
                if len(keys)
                else np.zeros(len(at), bool)
            )
            place[here[there]] = at[there]
            found.append(place)
        return found

    def log_probs(self, ids: np.ndarray) -> np.ndarray:
        """Natural logarithms of the probability of each word after those before it: (n,) -> (n,)
        float64; of a `bos` 0.

        Args:
            ids: whole sentences, `bos` before each.
        """
        places = self.places(ids)
        found = self.tables[0].log_prob[ids].astype(np.float64)
        for n in range(1, self.order):
            context = np.append(-1, places[n - 1][:-1])
            table = self.tables[n]
            place = places[n]
            backoff = np.zeros(len(ids))
            known = context >= 0
            backoff[known] = self.tables[n - 1].log_backoff[context[known]]
            found = np.where(
                place >= 0, table.log_prob[place] if len(table.keys) else 0.0, found + backoff
            )
        found[ids == self.bos] = 0.0
        return found

    def log_distribution(self, history: np.ndarray) -> np.ndarray:
        """Natural logarithms of the probability of every word after a history: (t,) ->
        (vocab_size,) float64; -inf where never.
        """
        history = (
            np.asarray(history)[-(self.order - 1) :] if self.order > 1 else np.zeros(0, np.int64)
        )
        contexts = [int(place[-1]) for place in self.places(history)] if len(history) else []
        place = np.arange(self.vocab_size)
        found = self.tables[0].log_prob.astype(np.float64)
        for n in range(1, len(history) + 1):
            table = self.tables[n]
            context = contexts[n - 1]
            wanted = place * self.vocab_size + history[-n]
            at = np.minimum(np.searchsorted(table.keys, wanted), max(len(table.keys) - 1, 0))
            there = (
                (place >= 0) & (table.keys[at] == wanted)
                if len(table.keys)
                else np.zeros(len(place), bool)
            )
            place = np.where(there, at, -1)
            backoff = self.tables[n - 1].log_backoff[context] if context >= 0 else 0.0
            found = np.where(there, table.log_prob[at] if len(table.keys) else 0.0, found + backoff)
        found[self.tables[0].log_prob == -np.inf] = -np.inf  # words that are never predicted
        return found

    def words(self, n: int) -> np.ndarray:
        """All n-grams of an order in the order of its table: (number, n) int64."""
        columns = []
        place = np.arange(len(self.tables[n - 1].keys))
        for table in self.tables[n - 1 : 0 : -1]:
            place, first = np.divmod(table.keys[place], self.vocab_size)
            columns.append(first)
        return np.stack([*columns, place], 1)

    # On disk

    def save(self, folder: Path) -> None:
        """An array a file, which `load` maps into memory; in single precision, so that sums of
        probabilities are 1 within 1e-6.
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
        """Read only what is asked for.

        Raises:
            ValueError: a part is missing or torn.
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
