"""Linear interpolation of language models: a weighted sum of their token probabilities."""

from collections.abc import Sequence

import numpy as np

N_ROUND = 1000
NEAR = 1e-10


def mixture_nats(nats: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return minus the natural log of the weighted sum of probabilities: (n,) float64.

    Args:
        nats: k arrays (n,), minus the natural log probability of each token by each model.
        weights: weights of the k models, which sum to 1.
    """
    with np.errstate(divide="ignore"):
        parts = np.log(np.asarray(weights, np.float64))[:, None] - np.stack(nats)
    return -np.logaddexp.reduce(parts, 0)


def fitted_weights(nats: Sequence[np.ndarray]) -> np.ndarray:
    """Return the weights (k,) that maximize the probability of the tokens, by expectation
    maximization.

    Source: Jelinek and Mercer 1980.

    Args:
        nats: k arrays (n,), minus the natural log probability of each token by each model. Tokens
            that all models consider impossible are ignored.

    Raises:
        ValueError: no token is left.
    """
    every = np.stack(nats)
    every = every[:, np.isfinite(every.min(0))] if every.size else every
    if not every.size:
        raise ValueError(
            "the validation text has no token that any of the models finds possible: no weights "
            "can be found with it"
        )
    p = np.exp(every.min(0) - every)  # as shares of the best model's, so that nothing vanishes
    weights = np.full(len(p), 1 / len(p))
    for _ in range(N_ROUND):
        shares = weights[:, None] * p
        after = (shares / shares.sum(0)).mean(1)
        done = np.abs(after - weights).max() < NEAR
        weights = after
        if done:
            break
    return weights
