"""Mixtures are probabilities, and their weights the best there are."""

import numpy as np
import pytest

from lslm_lightning.ngram.interpolation import fitted_weights, mixture_nats


def random_models(n: int = 400) -> list[np.ndarray]:
    """Nats of tokens by three models, of which each knows some better; the first finds one
    impossible.
    """
    chance = np.random.default_rng(0)
    nats = [-np.log(chance.beta(a, 3, n)) for a in (1, 2, 1)]
    nats[0][5] = np.inf
    return nats


def test_a_mixture_is_the_sum_of_probabilities():
    nats = random_models()
    weights = (0.2, 0.5, 0.3)
    expected = -np.log(sum(w * np.exp(-part) for w, part in zip(weights, nats, strict=True)))
    np.testing.assert_allclose(mixture_nats(nats, weights), expected, rtol=1e-12)
    assert np.array_equal(mixture_nats(nats, (0.0, 1.0, 0.0)), nats[1])


def test_no_other_weights_are_better():
    nats = random_models()
    best = fitted_weights(nats)
    assert best.sum() == pytest.approx(1)
    least = mixture_nats(nats, best).mean()
    chance = np.random.default_rng(1)
    for _ in range(200):
        other = np.abs(best + chance.normal(0, 0.1, 3))
        assert mixture_nats(nats, other / other.sum()).mean() >= least - 1e-9


def test_tokens_that_all_find_impossible_tell_nothing():
    nats = random_models()
    more = [np.append(part, np.inf) for part in nats]
    np.testing.assert_allclose(fitted_weights(more), fitted_weights(nats))
    for none in ([np.zeros(0)] * 2, [np.array([np.inf])] * 2):
        with pytest.raises(ValueError, match="no token that any of the models finds possible"):
            fitted_weights(none)
