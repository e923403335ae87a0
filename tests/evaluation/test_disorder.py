"""Permuted outputs of weak systems are reported; an oracle bounds what can be."""

import random

import numpy as np
import pytest

from lslm_lightning.evaluation.disorder import find_disorder
from tests.evaluation.test_alignment import half_permuted, sentences
from tests.support.alignment_bound import Oracle
from tests.support.misaligned import disorders


@pytest.mark.parametrize("seed", range(3))
def test_weak_matches_like_those_with_own_lines_tell_a_permutation(seed):
    """A quarter of the words is right; some references share their beginning with another, and so
    match other lines by chance, but not as clearly.
    """
    rng = random.Random(seed)
    texts = [text.split() for text in sentences(400, seed)]
    references = texts[:200]
    for i in range(0, 50, 2):
        n = int(0.3 * len(references[i]))
        references[i + 1] = [*references[i][:n], *references[i + 1][n:]]
    rng.shuffle(references)
    others = [word for text in texts[200:] for word in text]
    outputs = [
        " ".join(w if rng.random() < 0.25 else rng.choice(others) for w in text)
        for text in references
    ]
    joined = [" ".join(text) for text in references]
    assert find_disorder(outputs, joined) is None
    assert not find_disorder(half_permuted(outputs, seed), joined).is_unrelated


@pytest.mark.parametrize("seed", range(3))
def test_the_oracle_is_sure_of_what_is_clear_and_of_nothing_in_noise(seed):
    """It knows each shift and permutation; only outputs that resemble their lines tell it."""
    references = sentences(100)
    right = Oracle(references, references)
    unrelated = Oracle(sentences(100, 5), references)
    for wrong in disorders(references, random.Random(seed)).values():
        assert right.bound(wrong, np.random.default_rng(0)) == (True, True)
        assert not unrelated.bound(wrong, np.random.default_rng(0)).is_significant
