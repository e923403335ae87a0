"""Evidence of a shift: doubled outputs count, what nearby references have in common does not."""

import random

import numpy as np
import pytest

from lslm_lightning.evaluation.alignment import explained_by_nearness, find_shift
from tests.evaluation.test_alignment import mixture, sentences


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [5, -4])
def test_outputs_that_were_doubled_tell_a_shift(by, seed):
    """Of a run that was replaced by later or earlier outputs, those that are left twice are right,
    and a fifth of the others.
    """
    references, outputs = mixture(100, seed)
    for i in range(60, 60 + by) if by > 0 else range(50 + by, 50):
        outputs[i] = references[i]
    assert find_shift(outputs, references) is None
    found = find_shift([*outputs[:50], *outputs[50 + by : 60 + by], *outputs[60:]], references)
    assert found.offset == by
    assert 47 <= found.first <= found.last <= 63


@pytest.mark.parametrize("beside", [0.0, 0.9, 2.0])
def test_what_neighbouring_references_explain_is_no_evidence(beside):
    """The lines of a run fit the references further on as well as, less or more than their own."""
    odds = np.full((30, 21), -1.0)
    odds[5:15, 12] = 1.0
    odds[5:15, 13] = beside
    odds[:, 10] = -np.inf
    path = np.full(10, 12)
    assert explained_by_nearness(odds, 5, path) == pytest.approx(10 * beside)


@pytest.mark.parametrize("seed", range(6))
def test_questions_that_mention_the_answer_before_are_no_shift(seed):
    """A system repeats the question, in which its own answer never stands."""
    rng = random.Random(seed)
    references = [" ".join(text.split()[:4]) for text in sentences(120, seed)]
    asked = [" ".join(text.split()[:6]) for text in sentences(120, seed + 20)]
    outputs = [
        f"{question} {answer.split()[0]}" if rng.random() < 0.25 else question
        for question, answer in zip(asked, [asked[0], *references[:-1]], strict=True)
    ]
    assert find_shift(outputs, references) is None
