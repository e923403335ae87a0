"""Probability of unknown words by their letters."""

from collections.abc import Sequence

import numpy as np

from lslm_lightning.ngram.training import train

ORDER = 6
END = 256
BEGIN = 257


class Spelling:
    """N-gram model of words as UTF-8 bytes with an end, trained on the known words, each counted
    once, since new words resemble rare ones.

    No word is impossible, and the probabilities of all words sum to 1. Known words have a share of
    it, which a model that predicts `<unk>` and then the letters loses.

    Args:
        words: distinct words of the training text.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._model = train([joined(words)], ORDER, 258, BEGIN)

    def nats(self, words: Sequence[str]) -> np.ndarray:
        """Return minus the natural log probability of each word: (n,) float64."""
        if not words:
            return np.zeros(0)
        row = joined(words)
        return -np.add.reduceat(self._model.log_probs(row), np.flatnonzero(row == BEGIN))


def joined(words: Sequence[str]) -> np.ndarray:
    """Return the bytes of all words, with a beginning and an end each: (n,) int64. Half a surrogate
    pair is encoded by "surrogatepass".
    """
    encoded = [[BEGIN, *word.encode("utf-8", "surrogatepass"), END] for word in words]
    return np.array([byte for word in encoded for byte in word], np.int64)
