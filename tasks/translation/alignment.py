"""Word alignment of sources and outputs. It is learned from the texts alone, so it works for any
system.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_ITERATION = 5


@dataclass(frozen=True)
class Alignment:
    """Word translation probabilities, IBM model 1. Source: Brown et al. 1993, section 4.

    >>> alignment = learn([(["das", "haus"], ["the", "house"]), (["das", "buch"], ["the", "book"])])
    >>> alignment.matrix(["das", "buch"], ["the", "book"]).argmax(1)
    array([0, 1])
    """

    source: dict[str, int]
    target: dict[str, int]
    table: dict[int, float]  # target word * number of source words + source word -> probability

    def matrix(self, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
        """Return the probabilities (T, S) that each target word stems from each source word. Rows
        sum to 1; the row of an unknown word is 0.
        """
        n = len(self.source)
        scores = np.zeros((len(target), len(source)))
        for t, word in enumerate(target):
            for s, origin in enumerate(source):
                if word in self.target and origin in self.source:
                    scores[t, s] = self.table.get(self.target[word] * n + self.source[origin], 0.0)
        total = scores.sum(1, keepdims=True)
        return np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)


def learn(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]], n_iteration: int = N_ITERATION
) -> Alignment:
    """Train IBM model 1 by expectation maximization, starting from uniform probabilities.

    Args:
        pairs: (source words, target words) of each sentence pair.
    """
    source, target = (
        {word: i for i, word in enumerate(dict.fromkeys(w for pair in pairs for w in pair[side]))}
        for side in (0, 1)
    )
    n = len(source)
    cells = []
    groups = []
    group = 0
    for origin, words in pairs:
        if not origin or not words:
            continue
        own = np.array([source[w] for w in origin])
        for word in words:
            cells.append(target[word] * n + own)
            groups.append(np.full(len(own), group))
            group += 1
    if not cells:
        return Alignment(source, target, {})
    keys, cell = np.unique(np.concatenate(cells), return_inverse=True)
    of_group = np.concatenate(groups)
    of_source = keys % n
    table: np.ndarray = np.ones(len(keys))
    for _ in range(n_iteration):
        weight = table[cell]
        weight /= np.bincount(of_group, weight)[of_group]
        counts = np.bincount(cell, weight, len(keys))
        table = counts / np.bincount(of_source, counts, n)[of_source]
    return Alignment(source, target, dict(zip(keys.tolist(), table.tolist(), strict=True)))
