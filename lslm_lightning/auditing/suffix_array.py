"""Suffix array of many texts: where a string occurs, in how many texts, and the longest copy.

N characters of all texts together, each followed by one that ends it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

END = "\x00"  # behind each text; in a text it is replaced
INSTEAD = "\ufffd"
MOST = 30_000_000  # maximal number of characters, which take about 1 GB while they are sorted


class CopiedSpan(NamedTuple):
    """Part of a string that occurs verbatim in one of the texts: the characters from `start` to
    `start + length`.
    """

    start: int
    length: int


class SuffixArray:
    """Suffix array of texts.

    Args:
        texts: the texts, in order; those that do not fit into `most` characters are left out.
        most: maximal number of characters of all texts together.

    Attributes:
        text: all texts, each followed by `END`.
        positions: (N,) int32, the positions in `text` in the order of the suffixes that begin
            there, by code points.
        starts: (n_text,) int64, position in `text` at which each text begins.
        n_left_out: number of texts that are left out.
    """

    def __init__(self, texts: Iterable[str], most: int = MOST) -> None:
        parts: list[str] = []
        starts: list[int] = []
        size = 0
        self.n_left_out = 0
        for text in texts:
            if size + len(text) + 1 > most:
                self.n_left_out += 1
                continue
            starts.append(size)
            parts.append(text.replace(END, INSTEAD))
            size += len(text) + 1
        self.text = "".join(part + END for part in parts)
        self.starts = np.array(starts, dtype=np.int64)
        self.positions = sorted_suffixes(code_points(self.text))
        self._sorted = memoryview(self.positions)  # type: ignore[arg-type]  # faster to index

    def interval(self, pattern: str) -> tuple[int, int]:
        """Return the range (first, last + 1) of the suffixes that begin with `pattern`."""
        n = len(pattern)
        text = self.text

        def beginning(position: int) -> str:
            return text[position : position + n]

        first = bisect_left(self._sorted, pattern, key=beginning)
        return first, bisect_right(self._sorted, pattern, lo=first, key=beginning)

    def holds(self, pattern: str) -> bool:
        """Return whether `pattern` occurs in one of the texts."""
        n = len(pattern)
        text = self.text
        first = bisect_left(self._sorted, pattern, key=lambda at: text[at : at + n])
        if first == len(self._sorted):
            return not n
        at = self._sorted[first]
        return text[at : at + n] == pattern

    def count(self, pattern: str) -> int:
        """Return how often `pattern` occurs in the texts, overlapping occurrences included."""
        first, end = self.interval(pattern)
        return end - first

    def n_document(self, pattern: str) -> int:
        """Return the number of texts in which `pattern` occurs."""
        first, end = self.interval(pattern)
        owners = np.searchsorted(self.starts, self.positions[first:end], side="right")
        return len(np.unique(owners))

    def match_length(self, query: str, at: int = 0) -> int:
        """Return the length of the longest prefix of `query[at:]` that occurs in the texts."""
        rest = query[at:]
        n = len(rest)
        text = self.text
        place = bisect_left(self._sorted, rest, key=lambda p: text[p : p + n])
        near = self._sorted[max(0, place - 1) : place + 1]
        return max((shared_prefix(rest, text[p : p + n]) for p in near.tolist()), default=0)

    def copies(self, query: str, shortest: int = 1) -> list[CopiedSpan]:
        """Return the maximal copies of at least `shortest` characters, in order: parts of `query`
        that occur in the texts and cannot be extended at either end.
        """
        found: list[CopiedSpan] = []
        end = 0
        for at in range(len(query) - shortest + 1):
            if end - at < shortest and not self.holds(query[at : at + shortest]):
                continue
            length = self.match_length(query, at)
            if at + length > end and length >= shortest:
                found.append(CopiedSpan(at, length))
            end = max(end, at + length)
        return found

    def longest_copy(self, query: str) -> CopiedSpan:
        """Return the longest part of `query` that occurs in the texts; of equally long ones, the
        first.
        """
        best = CopiedSpan(0, 0)
        for at in range(len(query)):
            if at + best.length >= len(query):
                break
            if self.holds(query[at : at + best.length + 1]):
                best = CopiedSpan(at, self.match_length(query, at))
        return best


def shared_prefix(first: str, second: str) -> int:
    """Return the number of characters at the beginning of two strings that are equal."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def code_points(text: str) -> np.ndarray:
    """Return the code point of each character, uint32 (N,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def sorted_suffixes(codes: np.ndarray) -> np.ndarray:
    """Return the positions of a sequence in the order of the suffixes that begin there, int32 (N,).

    Suffixes are sorted by as many symbols as fit into 63 bits, then by twice as many in each round,
    where only those are sorted again that are equal so far. Source: Larsson and Sadakane 2007,
    "Faster suffix sorting".

    Args:
        codes: symbols (N,), at most 2^31 - 1 of them, as unsigned integers below 2^21.
    """
    n = len(codes)
    if n == 0:
        return np.empty(0, np.int32)
    key, width = packed(codes)
    order = np.argsort(key).astype(np.int32)
    key = key[order]
    is_first = np.concatenate([[True], key[1:] != key[:-1]])
    del key
    rank = np.empty(n, np.int32)  # of each suffix: index of the first one that is equal so far
    indices = np.arange(n, dtype=np.int32)
    rank[order] = np.maximum.accumulate(np.where(is_first, indices, 0))
    open_ = indices[~is_alone(is_first)]
    del indices
    while len(open_):
        suffixes = order[open_]
        after = suffixes.astype(np.int64) + width
        follows = np.where(after < n, rank[np.minimum(after, n - 1)].astype(np.int64) + 1, 0)
        keys = rank[suffixes].astype(np.int64) << 32 | follows
        by_key = np.argsort(keys)
        order[open_] = suffixes = suffixes[by_key]
        keys = keys[by_key]
        is_first = np.concatenate([[True], keys[1:] != keys[:-1]])
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(open_)), 0))
        rank[suffixes] = open_[first]
        open_ = open_[~is_alone(is_first)]
        width *= 2
    return order


def packed(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return keys (N,), int64, that sort suffixes by their first symbols, and the number of these
    symbols.
    """
    is_used = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    is_used[codes] = 1
    dense = np.cumsum(is_used)[codes]  # 0 stands for the end of the sequence
    n_bit = int(dense.max()).bit_length()
    width = 63 // n_bit
    key = np.zeros(len(codes), np.int64)
    for i in range(width):
        key <<= n_bit
        key[: max(0, len(codes) - i)] |= dense[i:]
    return key, width


def is_alone(is_first: np.ndarray) -> np.ndarray:
    """Return a mask (M,) of the groups of one member, given a mask of the first member of each."""
    return is_first & np.concatenate([is_first[1:], [True]])
