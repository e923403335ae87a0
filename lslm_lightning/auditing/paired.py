"""Test of paired differences by flipping their signs, and the interval of their mean."""

from itertools import product
from typing import NamedTuple

import numpy as np

MOST_EXACT = 14  # values of which all 2 ** n signs are tried
N_DRAWN = 20_000
SEED = 12345


class PairedTest(NamedTuple):
    """Mean of paired differences, its 95 % interval, and the p-value of the null hypothesis that
    each difference is as likely to have the other sign.
    """

    values: np.ndarray
    mean: float
    low: float
    high: float
    p: float


def sign_flip_test(values: np.ndarray) -> PairedTest:
    """Test whether the mean of paired differences is 0, by flipping their signs: all combinations
    of at most 14 values, otherwise 20,000 drawn ones. The interval is a percentile bootstrap.

    Source: Fisher 1935, "The Design of Experiments", section 21.

    Args:
        values: (n,) differences; fewer than 2 give nan.
    """
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return PairedTest(values, mean, float("nan"), float("nan"), float("nan"))
    draws = np.random.default_rng(SEED)
    if n <= MOST_EXACT:
        flipped = np.array(list(product((1.0, -1.0), repeat=n))) @ values / n
        extra = 0
    else:
        signs = draws.integers(0, 2, (N_DRAWN, n), dtype=np.int8)
        flipped = (2.0 * signs - 1.0) @ values / n
        extra = 1  # the observed signs themselves
    as_far = np.sum(np.abs(flipped) >= abs(mean) - 1e-12 * max(1.0, abs(mean)))
    means = values[draws.integers(0, n, (2_000, n))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    p = (as_far + extra) / (len(flipped) + extra)
    return PairedTest(values, mean, float(low), float(high), float(p))
