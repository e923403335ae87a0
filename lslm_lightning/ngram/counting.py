"""N-gram counting in bounded memory: sorted runs on disk, merged one range of words at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.lib.format import open_memmap

N_ROW = 4_000_000  # that are sorted at once
MAX_OPEN = 64  # runs that are merged at once; each has two files, and systems allow few open ones


class CountRows(NamedTuple):
    """Distinct n-grams in suffix order (sorted by the last word, then the word before it, ...), and
    their counts.

    Attributes:
        keys: (n_key, n) uint64, packed n-grams; see `Packing`.
        counts: (n,) int64, number of occurrences.
    """

    keys: np.ndarray
    counts: np.ndarray


class Packing:
    """Packing of n-grams of one order into `n_key` unsigned integers each, whose order is the
    suffix order of the n-grams.

    Args:
        order: number of words in an n-gram.
        vocab_size: word ids are 0 to vocab_size - 1.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        self.order = order
        self.n_bit = max(1, int(vocab_size - 1).bit_length())
        self.n_word = 64 // self.n_bit  # in a number
        self.n_key = -(-order // self.n_word)

    def pack(self, columns: Iterable[np.ndarray]) -> np.ndarray:
        """Return n-grams as packed integers: (n_key, n) uint64.

        Args:
            columns: `order` arrays (n,) of word ids, from the last words to the first.
        """
        packed: list[np.ndarray] = []
        for i, column in enumerate(columns):
            word = column.astype(np.uint64)
            if i % self.n_word == 0:
                packed.append(word)
            else:
                packed[-1] = packed[-1] << np.uint64(self.n_bit) | word
        return np.stack(packed)

    def column(self, keys: np.ndarray, i: int) -> np.ndarray:
        """Return the i-th word from the end of each packed n-gram, where i = 0 is the last word:
        (n,) int64.
        """
        number, index = divmod(i, self.n_word)
        return (
            keys[number] >> self._shift(number, index) & np.uint64((1 << self.n_bit) - 1)
        ).astype(np.int64)

    def begins(self, last: np.ndarray) -> np.ndarray:
        """Return, for each word in `last`, the smallest first packed integer of n-grams that end
        with it.
        """
        return last.astype(np.uint64) << self._shift(0, 0)

    def _shift(self, number: int, index: int) -> np.uint64:
        """Return the number of bits to the right of word `index` in the packed integer `number`."""
        n_inside = min(self.n_word, self.order - number * self.n_word)
        return np.uint64(self.n_bit * (n_inside - 1 - index))


def windows(ids: np.ndarray, order: int, bos: int) -> list[np.ndarray]:
    """Return the n-grams that end at each word other than `bos`, as `order` columns, last words
    first.

    N-grams that begin before a sentence are filled with `bos`.

    Args:
        ids: (n,) word ids of whole sentences, each preceded by `bos`.
    """
    ends = np.flatnonzero(ids != bos)
    columns = [ids[ends]]
    for i in range(1, order):
        columns.append(np.where(columns[-1] == bos, bos, ids[np.maximum(ends - i, 0)]))
    return columns


def distinct(keys: np.ndarray, counts: np.ndarray | None = None) -> CountRows:
    """Return packed n-grams sorted and without duplicates, with the sum of the counts of equal
    ones.

    Args:
        counts: (n,) count of each n-gram; 1 by default.
    """
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
    """Counter of n-grams of one order that stores sorted runs on disk.

    A new counter of an existing folder continues with the runs stored there.

    Args:
        order: number of words in an n-gram.
        vocab_size: word ids are 0 to vocab_size - 1.
        bos: word id that precedes every sentence.
        folder: folder of the runs.
        n_row: number of n-grams that are sorted at a time.
    """

    def __init__(
        self, order: int, vocab_size: int, bos: int, folder: Path, n_row: int = N_ROW
    ) -> None:
        self.packing = Packing(order, vocab_size)
        self.bos = bos
        self.folder = folder
        self.n_row = n_row
        self.runs: list[Path] = []  # paths of their files without the extensions
        while self._stem(len(self.runs)).with_suffix(".counts.npy").exists():
            self.runs.append(self._stem(len(self.runs)))

    def _stem(self, number: int) -> Path:
        return self.folder / f"run-{number}"

    def keep(self, n_run: int) -> None:
        """Delete all runs after the first `n_run`; a resumed training state does not include them.

        Raises:
            ValueError: there are fewer than `n_run` runs.
        """
        if len(self.runs) < n_run:
            raise ValueError(
                f"{self.folder} has {len(self.runs)} of the {n_run} runs of counts that belong "
                "to this state: train again"
            )
        for number in range(n_run, len(self.runs)):
            for name in CountRows._fields:
                self._stem(number).with_suffix(f".{name}.npy").unlink()
        del self.runs[n_run:]

    def add(self, ids: np.ndarray) -> None:
        """Count the n-grams of whole sentences.

        Args:
            ids: (n,) word ids; `bos` precedes each sentence and the end-of-sentence word follows
                it.
        """
        for part in pieces(ids, self.bos, self.n_row):
            rows = distinct(self.packing.pack(windows(part, self.packing.order, self.bos)))
            stem = self._stem(len(self.runs))
            spill(rows, stem)
            self.runs.append(stem)

    def rows(self) -> Iterator[CountRows]:
        """Yield all n-grams in suffix order, in chunks of about `n_row`.

        N-grams with the same last word are in the same chunk.
        """
        with TemporaryDirectory(prefix="merged-", dir=self.folder) as folder:
            stems = self.runs
            while len(stems) > MAX_OPEN:
                level = Path(folder) / str(len(stems))
                level.mkdir()
                groups = [stems[i : i + MAX_OPEN] for i in range(0, len(stems), MAX_OPEN)]
                stems = [level / f"run-{number}" for number in range(len(groups))]
                for group, stem in zip(groups, stems, strict=True):
                    merge_on_disk(group, stem, self.packing, self.n_row)
            yield from merged([map_rows(stem) for stem in stems], self.packing, self.n_row)


def pieces(ids: np.ndarray, bos: int, n_row: int) -> Iterator[np.ndarray]:
    """Yield an array of sentences in chunks of about `n_row` ids, cut between sentences."""
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


def spill(rows: CountRows, stem: Path) -> None:
    """Write rows to disk.

    The file of counts is written last and renamed when complete, so its presence means that the run
    is whole.

    Args:
        stem: path of the files without their extensions.
    """
    for name, values in zip(CountRows._fields, rows, strict=True):
        path = stem.with_suffix(f".{name}.npy")
        np.save(path.with_suffix(".part.npy"), values)
        path.with_suffix(".part.npy").replace(path)


def map_rows(stem: Path) -> CountRows:
    """Return the rows of a run on disk, memory-mapped."""
    return CountRows(
        *(np.load(stem.with_suffix(f".{name}.npy"), mmap_mode="r") for name in CountRows._fields)
    )


def merged(runs: list[CountRows], packing: Packing, n_row: int) -> Iterator[CountRows]:
    """Yield the rows of several sorted runs merged in suffix order, in chunks of about `n_row` that
    end where the last word changes.
    """
    if not runs:
        return
    words = packing.begins(np.arange(1, 1 << packing.n_bit))
    # of the rows of each last word
    stops: list[np.ndarray] = [
        np.append(np.searchsorted(run.keys[0], words), run.keys.shape[1]) for run in runs
    ]
    part_of_word = (np.sum(stops, 0) - 1) // n_row
    # the last word of each part
    ends = np.flatnonzero(np.diff(np.append(part_of_word, part_of_word[-1] + 1)))
    for before, end in zip(np.append(-1, ends[:-1]), ends, strict=True):
        ranges = [slice(stop[before] if before >= 0 else 0, stop[end]) for stop in stops]
        parts = [
            CountRows(run.keys[:, rows], run.counts[rows])
            for run, rows in zip(runs, ranges, strict=True)
        ]
        if sum(len(part.counts) for part in parts):
            yield (
                parts[0]
                if len(parts) == 1
                else distinct(*(np.concatenate(values, -1) for values in zip(*parts, strict=True)))
            )


def merge_on_disk(stems: Sequence[Path], stem: Path, packing: Packing, n_row: int) -> None:
    """Merge several sorted runs on disk into one, in the memory of about `n_row` rows.

    Args:
        stems: paths of the runs' files without their extensions.
        stem: the same of the merged run.
        n_row: number of n-grams that are sorted at a time.
    """
    runs = [map_rows(each) for each in stems]
    most = max(1, sum(len(run.counts) for run in runs))  # an empty file cannot be mapped
    drafts = [stem.with_suffix(f".{name}.draft.npy") for name in CountRows._fields]
    keys = open_memmap(drafts[0], "w+", np.uint64, (packing.n_key, most))
    counts = open_memmap(drafts[1], "w+", np.int64, (most,))
    n = 0
    for part in merged(runs, packing, n_row):
        end = n + len(part.counts)
        keys[:, n:end], counts[n:end] = part
        n = end
    spill(CountRows(keys[:, :n], counts[:n]), stem)
    for draft in drafts:
        draft.unlink()
