"""Probabilities are probabilities, and those of KenLM."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning.ngram.estimation import FALLBACK, discounts
from lslm_lightning.ngram.model import NgramModel
from tests.ngram.brown import Sentences, read_brown
from tests.ngram.conftest import BOS, UNK, VOCAB, as_ids, train


@pytest.mark.parametrize("least", [(), (1, 1, 2), (1, 2, 3)])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_after_every_history_probabilities_sum_to_one(order, least, sentences):
    model = train(as_ids(sentences), order, VOCAB, least)
    words = [*range(3, VOCAB), UNK]
    histories = [
        np.array(h) for h in ([BOS], *product(words, repeat=1), *product([BOS, *words], words))
    ]
    histories += [as_ids([s])[: 1 + i] for s in sentences[:60] for i in range(len(s))]
    for history in histories:
        assert np.exp(model.log_distribution(history)).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_the_distribution_after_a_history_is_what_scoring_says(order, sentences):
    model = train(as_ids(sentences), order, VOCAB)
    sentence = as_ids([[4, 33, 3, 5, UNK, 3]])
    scores = model.log_probs(sentence)
    for i in range(1, len(sentence)):
        assert model.log_distribution(sentence[:i])[sentence[i]] == pytest.approx(
            scores[i], abs=1e-12
        )
    assert scores[0] == 0


def test_how_sentences_stand_together_changes_nothing(sentences):
    model = train(as_ids(sentences), 4, VOCAB)
    apart = [model.log_probs(as_ids([sentence])) for sentence in sentences[:50]]
    assert np.array_equal(model.log_probs(as_ids(sentences[:50])), np.concatenate(apart))


def test_little_memory_makes_the_same_model(sentences):
    one, other = (train(as_ids(sentences), 4, VOCAB, n_row=n) for n in (10**6, 60))
    for first, second in zip(one.tables, other.tables, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_fewer_n_grams_are_kept_and_all_their_parts_with_them(sentences):
    whole, pruned = (train(as_ids(sentences), 4, VOCAB, least) for least in ((), (1, 1, 2, 3)))
    sizes = [[len(table.keys) for table in model.tables] for model in (whole, pruned)]
    assert sizes[0][:2] == sizes[1][:2]
    assert sizes[0][2] > sizes[1][2] > 0
    for n in (3, 4):
        kept = set(map(tuple, pruned.words(n).tolist()))
        assert kept < set(map(tuple, whole.words(n).tolist()))
        assert {gram[1:] for gram in kept} <= set(map(tuple, pruned.words(n - 1).tolist()))
        assert {gram[:-1] for gram in kept} <= set(map(tuple, pruned.words(n - 1).tolist())) | {
            (BOS,)
        }
    with pytest.raises(ValueError, match=r"least=\[2, 1\] must not decrease"):
        train(as_ids(sentences), 2, VOCAB, (2, 1))


def test_discounts_are_those_of_the_formula_or_the_stated_ones():
    adjusted = np.repeat([1, 2, 3, 4, 5], [40, 20, 10, 6, 9])
    y = 40 / (40 + 2 * 20)
    assert discounts(adjusted)[1:] == pytest.approx(
        [1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10]
    )
    for degenerate in ([1, 1, 1], [2, 2, 3], np.repeat([1, 2, 3, 4], [1, 1, 1, 90])):
        assert tuple(discounts(np.array(degenerate))[1:]) == FALLBACK


@pytest.mark.parametrize(
    "corpus",
    [[], [[]], [[5]], [[5] * 10]],
    ids=["nothing", "an empty sentence", "a word", "one word"],
)
def test_corpora_of_next_to_nothing_give_probabilities(corpus):
    model = train(as_ids(corpus), 3, VOCAB)
    for history in ([BOS], [BOS, 5], [5, 5], [7]):
        assert np.exp(model.log_distribution(np.array(history))).sum() == pytest.approx(1, abs=1e-9)


def test_a_model_on_disk_says_the_same(sentences, tmp_path):
    model = train(as_ids(sentences), 3, VOCAB)
    model.save(tmp_path / "ngram")
    again = NgramModel.load(tmp_path / "ngram")
    assert isinstance(again.tables[2].keys, np.memmap)
    np.testing.assert_allclose(
        again.log_probs(as_ids(sentences)), model.log_probs(as_ids(sentences)), rtol=1e-6
    )
    (tmp_path / "ngram/2.keys.npy").unlink()
    with pytest.raises(ValueError, match="holds no n-gram model"):
        NgramModel.load(tmp_path / "ngram")


@pytest.fixture(scope="module")
def brown(real_data: Path) -> Sentences:
    return read_brown(real_data / "brown/brown.zip")


# measured with KenLM's lmplz and query on these sentences
KENLM = {2: (314.01, 231.90), 3: (291.12, 214.08), 5: (288.94, 212.50)}


@pytest.mark.slow
@pytest.mark.parametrize("order", KENLM)
def test_perplexities_are_those_of_kenlm(order, brown):
    first, second, vocab_size = brown
    model = train(first, order, vocab_size)
    scores = model.log_probs(second)
    scored = second != BOS
    assert (scored.sum(), (second == UNK).sum()) == (127_652, 4_439)
    for known, expected in zip((scored, scored & (second != UNK)), KENLM[order], strict=True):
        assert np.exp(-scores[known].mean()) == pytest.approx(expected, rel=1e-4)
    if order == 5:
        for end in np.random.default_rng(0).choice(len(first), 20):
            assert np.exp(
                model.log_distribution(first[max(0, end - 6) : end + 1])
            ).sum() == pytest.approx(1, abs=1e-9)
