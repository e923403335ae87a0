"""Exposure of canaries whose rank is known by hand, and the estimate against exact ranks."""

import math
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import skewnorm

from lslm_lightning.auditing.exposure import (
    estimated_exposure,
    exact_exposure,
    rank_of,
    sampled_exposure,
)
from lslm_lightning.auditing.rankings import average_precision, least_window, rankings
from lslm_lightning.auditing.shares import p_above, share_figure
from lslm_lightning.auditing.writing import WrittenText


def test_the_first_of_1024_has_10_bits() -> None:
    others = np.arange(1.0, 1024.0)
    assert exact_exposure(0.5, others) == pytest.approx(10)
    assert exact_exposure(1.5, others) == pytest.approx(9)  # the second
    assert exact_exposure(5000.0, others) == pytest.approx(0)  # the last
    assert sampled_exposure(3.5, others) == pytest.approx(10 - math.log2(4))


def test_equally_likely_numbers_stand_behind_the_canary() -> None:
    assert rank_of(2.0, np.array([1.0, 2.0, 3.0])) == 2


def test_estimate_agrees_with_the_exact_exposure() -> None:
    draw = np.random.default_rng(1)
    everything = skewnorm.rvs(3, 20, 5, size=100_000, random_state=draw)
    sample = draw.choice(everything, 500, replace=False)
    for quantile in (0.001, 0.01, 0.1, 0.5):
        nats = float(np.quantile(everything, quantile))
        exact = exact_exposure(nats, everything)
        found = estimated_exposure(nats, sample, math.log2(len(everything)))
        assert found == pytest.approx(exact, abs=1.0)


def test_estimate_is_within_the_bits_of_a_number() -> None:
    references = np.random.default_rng(0).normal(20, 1, 200)
    assert estimated_exposure(-1e6, references, 29.9) == pytest.approx(29.9)
    assert estimated_exposure(1e6, references, 29.9) == 0


def test_interval_of_a_share_is_that_of_statsmodels_by_hand() -> None:
    figure = share_figure("x", "x", 8, 10)  # Wilson's interval, as in Brown et al. 2001
    assert (figure.value, figure.low, figure.high) == pytest.approx((80, 49.02, 94.33), abs=0.01)


@pytest.mark.parametrize("n", range(1, 400))
def test_interval_of_none_and_of_all_ends_there(n: int) -> None:
    assert share_figure("x", "x", 0, n).low == 0
    assert share_figure("x", "x", n, n).high == 100


def test_a_share_above_another_has_a_small_p() -> None:
    assert p_above(3, 3, 0, 3) == pytest.approx(1 / 20)  # one of C(6, 3) tables
    assert p_above(0, 10, 0, 10) == pytest.approx(1)


def test_average_precision_by_hand() -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    found = average_precision(scores, np.array([True, False, True, False]))
    assert found == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision(scores, np.zeros(4, dtype=bool)))


def test_least_window_is_the_least_mean() -> None:
    nats = np.random.default_rng(0).random(80)
    means = [nats[i : i + 50].mean() for i in range(31)]
    assert least_window(nats) == pytest.approx(min(means))


def test_rankings_are_those_of_carlini_et_al_2021() -> None:
    """As their released code computes them: the size by zlib over the log of the perplexity."""

    def token_nats(rows):
        return [np.array([1.0 + id_ % 7 for id_ in row[1:]]) for row in rows]

    tokenizer = SimpleNamespace(
        eos_id=0, encode_batch=lambda texts: [[ord(sign) for sign in text] for text in texts]
    )
    texts = ["To be, or not to be", "AAAAAAAAAA", "Whether 'tis nobler in the mind to suffer" * 3]
    samples = [WrittenText([ord(sign) for sign in text], text) for text in texts]
    found = rankings(SimpleNamespace(tokenizer=tokenizer, token_nats=token_nats), samples)

    def perplexity(text):
        return np.exp(np.mean([1.0 + ord(sign) % 7 for sign in text]))

    own = np.log([perplexity(text) for text in texts])
    lower = np.log([perplexity(text.lower()) for text in texts])
    sizes = np.array([len(zlib.compress(text.encode())) for text in texts])
    np.testing.assert_allclose(found["perplexity"], -own)
    np.testing.assert_allclose(found["lower case"], lower / own)
    np.testing.assert_allclose(found["zlib"], 8 * sizes / own)
