"""Counts are those of a dictionary, however little memory there is."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning.ngram import counting
from lslm_lightning.ngram.counting import NgramCounter, Packing, windows
from lslm_lightning.ngram.estimation import adjusted_counts
from tests.ngram.conftest import BOS, VOCAB, as_ids
from tests.support.waiting import PATIENCE


def grams(sentences, n):
    """The n-grams that end at a word or an end of a sentence, from the beginning of it on."""
    for sentence in sentences:
        words = [BOS, *sentence, 2]
        yield from (tuple(words[i - n + 1 : i + 1]) for i in range(max(1, n - 1), len(words)))


@pytest.mark.parametrize(
    ("order", "vocab_size"), [(1, 2), (3, 34), (5, 50_000), (7, 1000), (4, 2**20)]
)
def test_packed_words_come_back_and_compare_as_they_do(order, vocab_size):
    random = np.random.default_rng(0)
    packing = Packing(order, vocab_size)
    columns = [random.integers(0, vocab_size, 500) for _ in range(order)]
    keys = packing.pack(columns)
    assert all(np.array_equal(packing.column(keys, i), column) for i, column in enumerate(columns))
    assert np.array_equal(np.lexsort(keys[::-1]), np.lexsort(columns[::-1]))


def test_before_a_sentence_stands_its_beginning_alone():
    ids = as_ids([[7, 8], [9]])
    assert np.stack(windows(ids, 3, BOS), 1).tolist() == [
        [7, 1, 1],
        [8, 7, 1],
        [2, 8, 7],
        [9, 1, 1],
        [2, 9, 1],
    ]


@pytest.mark.parametrize("n_row", [50, 400, 10**6])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_counts_are_those_of_a_dictionary(order, n_row, sentences, tmp_path: Path):
    counter = NgramCounter(order, VOCAB, BOS, tmp_path, n_row)
    for part in (sentences[:100], sentences[100:]):
        counter.add(as_ids(part))
    assert len(counter.runs) > 2 or n_row == 10**6
    counts = adjusted_counts(counter.rows(), counter.packing, BOS)
    before = [[(int(word),) for word in counts[0].first]]
    for own in counts[1:]:
        before.append(
            [
                (int(first), *before[-1][suffix])
                for first, suffix in zip(own.first, own.suffix, strict=True)
            ]
        )
    for n, (own, words) in enumerate(zip(counts, before, strict=True), 1):
        raw = Counter(grams(sentences, n))
        assert dict(zip(words, own.raw.tolist(), strict=True)) == raw
        extended = defaultdict(set)
        for gram in grams(sentences, n + 1):
            extended[gram[1:]].add(gram[0])
        adjusted = {
            gram: raw[gram] if n == order or gram[0] == BOS else len(extended[gram]) for gram in raw
        }
        assert dict(zip(words, own.adjusted.tolist(), strict=True)) == adjusted


def test_counting_goes_on_where_it_stopped(sentences, tmp_path: Path):
    parts = [as_ids(sentences[i : i + 100]) for i in (0, 100, 200)]
    (tmp_path / "straight").mkdir()
    (tmp_path / "stopped").mkdir()
    straight = NgramCounter(3, VOCAB, BOS, tmp_path / "straight")
    stopped = NgramCounter(3, VOCAB, BOS, tmp_path / "stopped")
    for part in parts:
        straight.add(part)
    stopped.add(parts[0])
    stopped.add(parts[2])  # of which the state that goes on knows nothing
    again = NgramCounter(3, VOCAB, BOS, tmp_path / "stopped")
    again.keep(1)
    for part in parts[1:]:
        again.add(part)
    for one, other in zip(straight.rows(), again.rows(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    with pytest.raises(ValueError, match="3 of the 4 runs"):
        NgramCounter(3, VOCAB, BOS, tmp_path / "stopped").keep(4)


def test_runs_that_are_merged_on_disk_give_the_same_counts(sentences, tmp_path: Path, monkeypatch):
    """Also with n-grams that need two integers, and with several levels of merging."""
    counter = NgramCounter(5, 2**14, BOS, tmp_path)
    for sentence in sentences[:40]:
        counter.add(as_ids([sentence]))
    at_once = list(counter.rows())
    monkeypatch.setattr(counting, "MAX_OPEN", 3)
    by_level = list(counter.rows())
    assert counter.packing.n_key == 2
    for one, other in zip(at_once, by_level, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not [*tmp_path.glob("merged-*")]


@pytest.mark.slow
def test_many_small_batches_need_few_open_files():
    code = """
import resource
import numpy as np
from lslm_lightning.ngram.training import train

batches = [np.array([1, 3 + i % 5, 3 + i % 7, 2]) for i in range(400)]
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
few = train(iter(batches), 2, 12, 1)
one = train([np.concatenate(batches)], 2, 12, 1)
assert np.array_equal(few.log_probs(batches[0]), one.log_probs(batches[0]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
