"""Spelling is a probability, and knows what words look like."""

import math

import numpy as np
import pytest

from lslm_lightning.ngram.spelling import BEGIN, END, Spelling

WORDS = ["walk", "walked", "walking", "talk", "talked", "明月", "月光"]


def test_every_word_has_a_probability_and_likely_ones_look_like_words():
    spelling = Spelling(WORDS)
    nats = spelling.nats(["talking", "gnklatq", "明光", "🙂", "\ud800", ""])
    assert np.isfinite(nats).all()
    assert (nats > 0).all()
    assert nats[0] < nats[1] / 2
    assert spelling.nats([]).shape == (0,)


def test_letters_and_ends_add_up_to_one():
    model = Spelling(WORDS)._model
    for history in ([BEGIN], [BEGIN, *b"wal"], [BEGIN, *b"zq"]):
        p = np.exp(model.log_distribution(np.array(history)))
        assert p.sum() == pytest.approx(1, abs=1e-9)
        assert p[END] > 0
        assert p[BEGIN] == 0


def test_a_word_costs_its_letters_one_after_the_other():
    spelling = Spelling(WORDS)
    row = [BEGIN, *b"talks", END]
    by_hand = -math.fsum(
        spelling._model.log_distribution(np.array(row[:i]))[row[i]] for i in range(1, len(row))
    )
    assert spelling.nats(["walk", "talks"])[1] == pytest.approx(by_hand, abs=1e-9)
