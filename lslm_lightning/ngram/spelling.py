"""What unknown words cost: their letters."""

from collections.abc import Sequence

import numpy as np

from lslm_lightning.ngram.training import train

ORDER = 6
END = 256
BEGIN = 257


class Spelling:
    """The probability of words as UTF-8 bytes with an end, by an n-gram model of known words, each
    counted once: new words are rare ones.

    No word is impossible, and the probabilities of all add up to 1. A word that is known could be
    spelled too, so that a model which says `<unk>` and then spells gives away what it gives to
    these.

    Args:
        words: those of the training text.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._model = train([joined(words)], ORDER, 258, BEGIN)

    def nats(self, words: Sequence[str]) -> np.ndarray:
        """Minus log probability of each word: (n,) float64."""
        if not words:
            return np.zeros(0)
        row = joined(words)
        return -np.add.reduceat(self._model.log_probs(row), np.flatnonzero(row == BEGIN))


def joined(words: Sequence[str]) -> np.ndarray:
    """Bytes of all words, with a beginning and an end each: (n,) int64. Half a surrogate pair is
    spelled as Python does it.
    """
    spelled = [[BEGIN, *word.encode("utf-8", "surrogatepass"), END] for word in words]
    return np.array([byte for word in spelled for byte in word], np.int64)
