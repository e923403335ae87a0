"""Training of n-gram models on sentences of word ids."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lslm_lightning.ngram.counting import NgramCounter
from lslm_lightning.ngram.estimation import adjusted_counts, estimate
from lslm_lightning.ngram.model import NgramModel


def train(batches: Iterable[np.ndarray], order: int, vocab_size: int, bos: int) -> NgramModel:
    """Return an n-gram model of the sentences, estimated by modified Kneser-Ney smoothing.

    Args:
        batches: arrays (n,) of word ids of whole sentences; `bos` precedes each sentence and the
            end-of-sentence word follows it.
        bos: word id that precedes every sentence.
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
    """Return a model of the n-grams in a counter.

    Args:
        least: minimum number of occurrences for an n-gram to be kept, by order from 1 on.
        impossible: words other than `counter.bos` that are never predicted.
    """
    counts = adjusted_counts(counter.rows(), counter.packing, counter.bos)
    return NgramModel(
        estimate(counts, vocab_size, counter.bos, least, impossible), vocab_size, counter.bos
    )
