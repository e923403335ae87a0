"""Buckets partition an evaluation set: every example is in one, and their statistics add up to the
total.
"""

from dataclasses import replace

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.buckets import kinds_of_words, quartiles, standard_buckets
from lslm_lightning.metrics.agreement import ExactMatch
from lslm_lightning.metrics.bleu import Bleu

RNG = np.random.default_rng(2)
WORDS = ["cat", "dog", "house", "Berlin", "7", "runs", "sleeps", "old"]
EXAMPLES = [
    Example(
        str(i), " ".join(RNG.choice(WORDS, 6)), ("The " + " ".join(RNG.choice(WORDS, 3 + i % 9)),)
    )
    for i in range(200)
]


@pytest.mark.parametrize(
    "values",
    [np.arange(100.0), np.repeat([1.0, 2.0], 50), np.r_[np.zeros(90), np.arange(10.0)], np.ones(5)],
)
def test_every_value_is_in_one_quartile(values):
    masks = np.stack(list(quartiles(values, "words").values()))
    assert (masks.sum(0) == 1).all()
    assert masks.any(1).all()


def test_buckets_of_an_evaluation_set():
    metric = Bleu("en")
    rows = np.stack([metric.statistics(e, Prediction(e.id, e.source)) for e in EXAMPLES])
    found = standard_buckets(
        EXAMPLES, metric, {"copy": rows}, known=["the cat old " * 200, "dog runs 7 " * 50, "house"]
    )
    assert {cut.title for cut in found} >= {
        "Length of the reference",
        "Numbers and names",
        "Copied words",
        "Source overlap",
        "Rarest word",
    }
    for cut in found:
        places = np.concatenate([bucket.indices for bucket in cut.buckets])
        assert len(places) == len(set(places))
        for bucket in cut.buckets:
            assert bucket.scores["copy"] == pytest.approx(metric.score(rows[bucket.indices].sum(0)))


def test_an_empty_reference_has_no_words_that_are_rare_or_copied():
    examples = [replace(e, references=("",)) if i % 2 else e for i, e in enumerate(EXAMPLES)]
    rows = np.ones((len(examples), 2))
    found = {
        cut.title: cut
        for cut in standard_buckets(
            examples,
            ExactMatch(),
            {"all": rows},
            known=["the cat old " * 200, "dog runs 7 " * 50, "house"],
        )
    }
    for title in ("Copied words", "Source overlap", "Rarest word"):
        places = np.concatenate([bucket.indices for bucket in found[title].buckets])
        assert (places % 2 == 0).all()
    assert len(found["Length of the reference"].buckets[0].indices) == 100, "they are the shortest"


def test_numbers_come_before_names_and_languages_differ():
    examples = [
        Example("1", "", ("He saw Berlin in 1990.",)),
        Example("2", "", ("He saw Berlin.",)),
        Example("3", "", ("He saw it.",)),
    ]
    assert {
        name: list(np.flatnonzero(mask)) for name, mask in kinds_of_words(examples).items()
    } == {
        "a number": [0],
        "a name, no number": [1],
        "neither": [2],
    }
    german = [
        Example("1", "", ("Er sah ein Haus.",), "de"),
        Example("2", "", ("Er sah 2 Häuser.",), "de"),
    ]
    assert list(kinds_of_words(german)) == ["a number", "no number"]
