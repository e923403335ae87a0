"""Small and real corpora as numbers."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning.ngram.counting import N_ROW, NgramCounter
from lslm_lightning.ngram.model import NgramModel
from lslm_lightning.ngram.training import estimated

UNK = 0
BOS = 1
EOS = 2


def as_ids(sentences: Iterable[Iterable[int]]) -> np.ndarray:
    return np.array([i for sentence in sentences for i in (BOS, *sentence, EOS)], np.int64)


def train(
    ids: np.ndarray, order: int, vocab_size: int, least: tuple[int, ...] = (), n_row: int = N_ROW
) -> NgramModel:
    with tempfile.TemporaryDirectory() as folder:
        counter = NgramCounter(order, vocab_size, BOS, Path(folder), n_row)
        counter.add(ids)
        return estimated(counter, vocab_size, least)


@pytest.fixture(scope="session")
def sentences() -> list[list[int]]:
    """300 of 0 to 12 words out of 30, the first ones frequent, as in a language; 30 to 33 never
    occur.
    """
    random = np.random.default_rng(5)
    return [
        (3 + (30 * random.random(random.integers(0, 13)) ** 3).astype(int) % 27).tolist()
        for _ in range(300)
    ]


VOCAB = 34
Train = Callable[..., NgramModel]
