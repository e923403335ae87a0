"""How often each n-gram occurs, in bounded memory: sorted runs on disk, merged range by range."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

N_ROW = 4_000_000  # that are sorted at once


class CountRows(NamedTuple):
    """Different n-grams in suffix order (by the last word, then the one before it, ...), as packed
    words, and how often each occurs.

    keys: (n_key, n) uint64. counts: (n,) int64.
    """

    keys: np.ndarray
    counts: np.ndarray


class Packing:
    """N-grams of one order as few unsigned numbers, which compare as the n-grams do from the last
    word backwards.

    Args:
        order: words in an n-gram.
        vocab_size: words are 0 to vocab_size - 1.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        self.order = order
        self.n_bit = max(1, int(vocab_size - 1).bit_length())
        self.n_word = 64 // self.n_bit  # in a number
        self.n_key = -(-order // self.n_word)

    def pack(self, columns: Iterable[np.ndarray]) -> np.ndarray:
        """Words, the last of each n-gram first: `order` arrays (n,) -> (n_key, n)."""
        packed: list[np.ndarray] = []
        for i, column in enumerate(columns):
            word = column.astype(np.uint64)
            if i % self.n_word == 0:
                packed.append(word)
            else:
                packed[-1] = packed[-1] << np.uint64(self.n_bit) | word
        return np.stack(packed)

    def column(self, keys: np.ndarray, i: int) -> np.ndarray:
        """The i-th word from the end, from 0 on: (n,) int64."""
        number, place = divmod(i, self.n_word)
        return (
            keys[number] >> self._shift(number, place) & np.uint64((1 << self.n_bit) - 1)
        ).astype(np.int64)

    def begins(self, last: np.ndarray) -> np.ndarray:
        """The least first number of n-grams with these last words."""
        return last.astype(np.uint64) << self._shift(0, 0)

    def _shift(self, number: int, place: int) -> np.uint64:
        n_inside = min(self.n_word, self.order - number * self.n_word)
        return np.uint64(self.n_bit * (n_inside - 1 - place))


def windows(ids: np.ndarray, order: int, bos: int) -> list[np.ndarray]:
    """The n-grams that end at each word but `bos`, as columns, the last word first; before the
    beginning of a sentence stands `bos`.

    Args:
        ids: (n,), whole sentences, each with `bos` before it.
    """
    ends = np.flatnonzero(ids != bos)
    columns = [ids[ends]]
    for i in range(1, order):
        columns.append(np.where(columns[-1] == bos, bos, ids[np.maximum(ends - i, 0)]))
    return columns


def different(keys: np.ndarray, counts: np.ndarray | None = None) -> CountRows:
    """Sorted, each once, with the sum of its counts (1 each by default)."""
    n_row = keys.shape[1]
    if n_row == 0:
        return CountRows(keys, np.zeros(0, np.int64))
    if len(keys) == 1 and counts is None:
        keys = np.sort(keys, axis=1)
    else:
        order = np.lexsort(keys[::-1])
        keys = keys[:, order]
        counts = None if counts is None else counts[order]
    starts = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(0)]))
    n = np.diff(np.append(starts, n_row)) if counts is None else np.add.reduceat(counts, starts)
    return CountRows(keys[:, starts], n.astype(np.int64))


class NgramCounter:
    """Counts n-grams of one order as sorted runs on disk; one that is made again with the same
    folder knows those that are there.

    Args:
        order: words in an n-gram. vocab_size: words are 0 to vocab_size - 1. bos: the word before
            the first of a sentence.
        folder: for the runs.
        n_row: n-grams that are sorted at once.
    """

    def __init__(
        self, order: int, vocab_size: int, bos: int, folder: Path, n_row: int = N_ROW
    ) -> None:
        self.packing = Packing(order, vocab_size)
        self.bos = bos
        self.folder = folder
        self.n_row = n_row
        self.runs: list[CountRows] = []
        while self._stem(len(self.runs)).with_suffix(".counts.npy").exists():
            self.runs.append(opened(self._stem(len(self.runs))))

    def _stem(self, number: int) -> Path:
        return self.folder / f"run-{number}"

    def keep(self, n_run: int) -> None:
        """Forget all but the first runs: what was counted after a state of training that goes on.

        Raises:
            ValueError: there are fewer.
        """
        if len(self.runs) < n_run:
            raise ValueError(
                f"{self.folder} has {len(self.runs)} of the {n_run} runs of counts that belong "
                "to this state: train anew"
            )
        for number in range(n_run, len(self.runs)):
            for name in CountRows._fields:
                self._stem(number).with_suffix(f".{name}.npy").unlink()
        del self.runs[n_run:]

    def add(self, ids: np.ndarray) -> None:
        """Count whole sentences, `bos` before each and the end after it: (n,)."""
        for part in pieces(ids, self.bos, self.n_row):
            rows = different(self.packing.pack(windows(part, self.packing.order, self.bos)))
            self.runs.append(spill(rows, self._stem(len(self.runs))))

    def rows(self) -> Iterator[CountRows]:
        """All n-grams in suffix order, in pieces of about `n_row` that cut no group of one last
        word.
        """
        yield from merged(self.runs, self.packing, self.n_row)


def pieces(ids: np.ndarray, bos: int, n_row: int) -> Iterator[np.ndarray]:
    """A long row of sentences as several of at most about `n_row`, cut between sentences."""
    starts = np.flatnonzero(ids == bos)
    cuts = (
        starts[
            np.unique(
                np.searchsorted(starts, np.arange(n_row, len(ids), n_row)).clip(max=len(starts) - 1)
            )
        ]
        if len(starts)
        else []
    )
    yield from (part for part in np.split(ids, cuts) if len(part))


def spill(rows: CountRows, stem: Path) -> CountRows:
    """The same rows on disk; the counts, which come last, under their name only when all is
    there.
    """
    for name, values in zip(CountRows._fields, rows, strict=True):
        path = stem.with_suffix(f".{name}.npy")
        np.save(path.with_suffix(".part.npy"), values)
        path.with_suffix(".part.npy").replace(path)
    return opened(stem)


def opened(stem: Path) -> CountRows:
    """Of the disk, mapped into memory."""
    return CountRows(
        *(np.load(stem.with_suffix(f".{name}.npy"), mmap_mode="r") for name in CountRows._fields)
    )


def merged(runs: list[CountRows], packing: Packing, n_row: int) -> Iterator[CountRows]:
    """One sorted sequence of several, cut where the last word changes."""
    if not runs:
        return
    words = packing.begins(np.arange(1, 1 << packing.n_bit))
    # of the rows of each last word
    stops = [np.append(np.searchsorted(run.keys[0], words), run.keys.shape[1]) for run in runs]
    part_of_word = (sum(stops) - 1) // n_row
    # the last word of each part
    ends = np.flatnonzero(np.diff(np.append(part_of_word, part_of_word[-1] + 1)))
    for before, end in zip(np.append(-1, ends[:-1]), ends, strict=True):
        ranges = [slice(stop[before] if before >= 0 else 0, stop[end]) for stop in stops]
        parts = [
            CountRows(run.keys[:, own], run.counts[own])
            for run, own in zip(runs, ranges, strict=True)
        ]
        if sum(len(part.counts) for part in parts):
            yield (
                parts[0]
                if len(parts) == 1
                else different(*(np.concatenate(values, -1) for values in zip(*parts, strict=True)))
            )
