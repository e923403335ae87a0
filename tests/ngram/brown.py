"""The Brown corpus in the setting in which KenLM was measured."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.ngram.conftest import BOS, EOS, UNK, as_ids


class Sentences(NamedTuple):
    """Rows of ids, BOS before each sentence and EOS behind it; words are 0 to vocab_size - 1."""

    train: np.ndarray
    test: np.ndarray
    vocab_size: int


def read_brown(path: Path) -> Sentences:
    """Of documents sorted by name the first 450, and the other 50, in which words that are not in
    the first are UNK.
    """
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if re.search(r"/c[a-r]\d\d$", name))
        documents = [
            [line.split() for line in file.read(name).decode().splitlines() if line.split()]
            for name in names
        ]
    number = {"<unk>": UNK, "<s>": BOS, "</s>": EOS}
    first, second = (
        [
            [word.rpartition("/")[0] for word in sentence]
            for document in part
            for sentence in document
        ]
        for part in (documents[:450], documents[450:])
    )
    assert [len(first), len(second)] == [50_068, 7_272]
    train = as_ids(
        [[number.setdefault(word, len(number)) for word in sentence] for sentence in first]
    )
    return Sentences(
        train,
        as_ids([[number.get(word, UNK) for word in sentence] for sentence in second]),
        len(number),
    )
