"""Probabilities of unknown words from their spelling."""

from collections.abc import Sequence

import numpy as np

from lslm_lightning.ngram.training import train

ORDER = 6
END = 256
BEGIN = 257


class Spelling:
    """N-gram model of words as sequences of UTF-8 bytes that end with an end symbol.

    It is trained on the distinct words, each counted once, since new words resemble rare ones.
    Every word has a nonzero probability, and the probabilities of all words sum to 1. Known words
    take part of this sum; a model that predicts `<unk>` and then the spelling loses that part.

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
    """Return the bytes of all words in one array, each word between `BEGIN` and `END`: (n,) int64.

    Lone surrogates are encoded with "surrogatepass".
    """
    encoded = [[BEGIN, *word.encode("utf-8", "surrogatepass"), END] for word in words]
    return np.array([byte for word in encoded for byte in word], np.int64)
