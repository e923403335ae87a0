"""Training of n-gram models on sentences of word numbers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lslm_lightning.ngram.counting import NgramCounter
from lslm_lightning.ngram.estimation import adjusted_counts, estimate
from lslm_lightning.ngram.model import NgramModel


def train(batches: Iterable[np.ndarray], order: int, vocab_size: int, bos: int) -> NgramModel:
    """Return a model of all sentences, by modified Kneser-Ney.

    Args:
        batches: arrays (n,) of whole sentences, `bos` before each and the end after it.
        bos: the word before the first of a sentence.
    """
    with TemporaryDirectory() as folder:
        counter = NgramCounter(order, vocab_size, bos, Path(folder))
        for ids in batches:
            counter.add(ids)
        return estimated(counter, vocab_size)


def estimated(
    counter: NgramCounter,
    vocab_size: int,
    least: Sequence[int] = (),
    impossible: Sequence[int] = (),
) -> NgramModel:
    """Return a model of the n-grams of a counter; see `estimate`."""
    counts = adjusted_counts(counter.rows(), counter.packing, counter.bos)
    return NgramModel(
        estimate(counts, vocab_size, counter.bos, least, impossible), vocab_size, counter.bos
    )
