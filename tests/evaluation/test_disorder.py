"""Permuted outputs of weak systems are reported; an oracle bounds what can be."""

import random

import numpy as np
import pytest
import sacrebleu

from lslm_lightning.evaluation.alignment import find_shift
from lslm_lightning.evaluation.disorder import (
    LEAST_CHRF,
    LEAST_MOVED,
    MOST_MOVED,
    Matches,
    estimate_share_moved,
    find_disorder,
    second_clearest,
)
from tests.evaluation.test_alignment import half_permuted, sentences
from tests.support.alignment_bound import Oracle
from tests.support.misaligned import disorders


def share_beginnings(references, n, share):
    """Give every second of the first n references this share of the words before it."""
    for i in range(0, n, 2):
        n_word = int(share * len(references[i]))
        references[i + 1] = [*references[i][:n_word], *references[i + 1][n_word:]]


@pytest.mark.parametrize("seed", range(3))
def test_weak_matches_like_those_with_own_lines_tell_a_permutation(seed):
    """A quarter of the words is right; some references share their beginning with another, and so
    match other lines by chance, but not as clearly.
    """
    rng = random.Random(seed)
    texts = [text.split() for text in sentences(400, seed)]
    references = texts[:200]
    share_beginnings(references, 50, 0.3)
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
def test_references_that_share_beginnings_hide_no_permutation_of_what_fits_one_line(seed):
    """Six of ten references begin like another, and so match each other; the outputs, right at
    their beginning, still fit their own lines best.
    """
    rng = random.Random(seed)
    texts = [text.split() for text in sentences(200, seed)]
    references = texts[:100]
    share_beginnings(references, 60, 0.6)
    rng.shuffle(references)
    n_right = [round(0.5 * len(words)) for words in references]
    outputs = [
        " ".join([*words[:n], *other[n:]])
        for words, other, n in zip(references, texts[100:], n_right, strict=True)
    ]
    joined = [" ".join(words) for words in references]
    assert find_disorder(outputs, joined) is None
    assert not find_disorder(half_permuted(outputs, seed), joined).is_unrelated


@pytest.mark.parametrize("seed", range(3))
def test_chrf_tells_how_many_lines_a_permutation_moved(seed):
    """So many words are right that the chrF is the lowest that is expected."""
    rng = random.Random(seed)
    texts = [text.split() for text in sentences(400, seed)]
    others = [word for text in texts[200:] for word in text]
    references = [" ".join(text) for text in texts[:200]]
    for share in np.arange(0.1, 1, 0.02):
        outputs = [
            " ".join(word if rng.random() < share else rng.choice(others) for word in text)
            for text in texts[:200]
        ]
        if sacrebleu.corpus_chrf(outputs, [references]).score >= LEAST_CHRF:
            break
    for moved in (0.5, 0.7):
        chosen = rng.sample(range(200), int(moved * 200))
        order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
        permuted = [outputs[order.get(i, i)] for i in range(200)]
        found = estimate_share_moved(permuted, references, LEAST_CHRF)
        assert abs(found - moved) < 0.12
    assert estimate_share_moved(outputs, references, LEAST_CHRF) == LEAST_MOVED
    turned = [*outputs[7:], *outputs[:7]]
    assert estimate_share_moved(turned, references, LEAST_CHRF) == MOST_MOVED


@pytest.mark.parametrize("seed", range(3))
def test_the_oracle_is_sure_of_what_is_clear_and_of_nothing_in_noise(seed):
    """It knows each shift and permutation; only outputs that resemble their lines tell it."""
    references = sentences(100)
    right = Oracle(references, references)
    unrelated = Oracle(sentences(100, 5), references)
    for wrong in disorders(references, random.Random(seed)).values():
        assert right.bound(wrong, np.random.default_rng(0)) == (True, True)
        assert not unrelated.bound(wrong, np.random.default_rng(0)).is_significant


def passages(n: int, n_question: int, seed: int) -> tuple[list[str], list[str]]:
    """Return references on passages, and a sentence of its passage for each of them."""
    rng = random.Random(seed)
    references = []
    outputs = []
    for words in (text.split() for text in sentences(n, seed)):
        for question in range(n_question):
            references.append(f"{' '.join(rng.sample(words, 4))} {question} {rng.randrange(999)}")
            outputs.append(" ".join(words))
    return references, outputs


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("seed", range(3))
def test_a_permutation_of_outputs_that_repeat_is_told(seed, share):
    """A system answers all questions on a passage alike; no output is that of one line alone."""
    references, outputs = passages(14, 8, seed)
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None
    rng = random.Random(seed)
    chosen = rng.sample(range(len(outputs)), int(share * len(outputs)))
    order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
    found = find_disorder([outputs[order.get(i, i)] for i in range(len(outputs))], references)
    assert found.n_other > 0.2 * share * len(outputs)


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_by_the_lines_that_share_an_output_is_told(seed):
    references, outputs = passages(25, 4, seed)
    for by in (4, -4):
        found = find_shift([*outputs[by:], *outputs[:by]], references)
        assert found.offset == by
    assert find_shift(outputs, references) is None


def test_of_matches_with_one_text_the_second_clearest_counts():
    """A text that fits one subject alone may fit all references on it by chance."""
    own = np.array([True, True, True, False, False, False, False, True])
    best = np.array([0, 1, 0, 1, 0, 1, 2, 3])
    lead = np.array([3.0, 2.0, 1.0, 0.7, 0.9, 0.8, 0.4, 0.5])
    found = Matches(np.arange(8), best, own, lead, lead, lead, lead)
    counted = second_clearest(found, ["same", "same", "once", "alone"])
    assert np.flatnonzero(np.isfinite(counted.lead)).tolist() == [1, 5]
    assert (counted.lead[[1, 5]] == lead[[1, 5]]).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_fits_a_line_that_has_an_output_of_its_own_is_no_permutation(seed):
    """Half of the outputs fit a line whose own output fits it too, though less."""
    rng = random.Random(seed)
    texts = [text.split() for text in sentences(150, seed)]
    pairs = [
        (" ".join([*reference[:2], *other[:5]]), reference)
        for reference, other in zip(texts[:50], texts[100:], strict=True)
    ]
    pairs += [
        (" ".join(fitting[1:6]), own)
        for fitting, own in zip(texts[:50], texts[50:100], strict=True)
    ]
    rng.shuffle(pairs)
    assert find_disorder([a for a, _ in pairs], [" ".join(b) for _, b in pairs]) is None
