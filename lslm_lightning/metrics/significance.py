"""Confidence intervals and paired tests by resampling of examples.

Every function takes statistics, one row per example, and applies the metric's formula to resampled
sums of rows. The same seed draws the same examples, so that scores of several systems are paired.

Array shapes: N examples, D statistics, R resamples.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np

from lslm_lightning.contracts import Metric
from lslm_lightning.metrics.resampling import TEST_RESAMPLES

SEED = 12345
# examples: one alone is drawn every time, and bounds of what never varies would seem sure
ENOUGH = 2
_CELLS = 2_000_000  # weights held at a time: 16 MB
_KEPT = 64_000_000  # weights kept for the next metric or system: 64 MB, a byte each


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference between the scores of two systems, first minus second.

    `low` and `high` bound its 95 % interval. `p` is the two-sided p-value of the null hypothesis
    that the systems are equal.
    """

    difference: float
    low: float
    high: float
    p: float


def bootstrap_totals(rows: np.ndarray, n_resample: int, seed: int = SEED) -> np.ndarray:
    """Return the sums (R, D) of bootstrap samples; each sample is N rows drawn with replacement.

    Args:
        rows: statistics (N, D); those of several metrics or systems may be concatenated side by
            side.
    """
    return np.concatenate(
        [weights.astype(np.float64) @ rows for weights in _draws(len(rows), n_resample, seed)]
    )


def interval(metric: Metric, totals: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bounds of the percentile interval of a score; nan if a resampled score is nan.

    Source: Efron 1979; Koehn 2004.

    Args:
        totals: resampled sums (R, D).
        confidence: share of resampled scores inside the interval.
    """
    return _percentiles(metric.scores(totals), confidence)


def paired_bootstrap(
    metric: Metric,
    first: np.ndarray,
    second: np.ndarray,
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two systems by resampling the examples that they share.

    The two-sided p comes from the distribution of differences, shifted to mean zero. sacreBLEU's
    `--paired-bs` takes the absolute difference before it shifts the mean, which counts only one
    tail, so its p is about half of this one. Source: Koehn 2004; Efron and Tibshirani 1993,
    algorithm 16.2.

    Args:
        first: statistics (N, D) of the first system.
        second: statistics (N, D) of the second system.
    """
    [comparison] = bootstrap_pairs(
        metric, {"first": first, "second": second}, n_resample, seed
    ).values()
    return comparison


def paired_randomization(
    metric: Metric,
    first: np.ndarray,
    second: np.ndarray,
    n_trial: int = TEST_RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two systems by exchanging their answers at random, example by example.

    This tests the null hypothesis that it does not matter which system wrote which answer. Its
    p-value is preferable to the one of `paired_bootstrap`, from which the interval is taken.
    Source: Noreen 1989; Riezler and Maxwell 2005.

    Args:
        first: statistics (N, D) of the first system.
        second: statistics (N, D) of the second system.
    """
    systems = {"first": first, "second": second}
    [p] = randomization_pairs(metric, systems, n_trial, seed).values()
    return replace(paired_bootstrap(metric, first, second, n_trial, seed), p=p)


def bootstrap_pairs(
    metric: Metric,
    systems: Mapping[str, np.ndarray],
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> dict[tuple[str, str], Comparison]:
    """Return the result of `paired_bootstrap` for every pair of systems.

    All pairs use the same resampled examples. If there is only one example, its variance is
    unknown, and bounds and p are nan.

    Args:
        systems: statistics (N, D) by system.
        pairs: pairs to compare; by default every pair.
    """
    _check_rows(systems)
    if len(next(iter(systems.values()))) < ENOUGH:
        return {
            (first, second): Comparison(
                _difference(metric, systems[first], systems[second]), *3 * [math.nan]
            )
            for first, second in (combinations(systems, 2) if pairs is None else pairs)
        }
    totals = bootstrap_totals(np.hstack(list(systems.values())), n_resample, seed)
    drawn = dict(
        zip(
            systems,
            (metric.scores(part) for part in np.split(totals, len(systems), axis=1)),
            strict=True,
        )
    )
    value = {name: metric.score(rows.sum(0)) for name, rows in systems.items()}
    found = {}
    for first, second in combinations(systems, 2) if pairs is None else pairs:
        differences = drawn[first] - drawn[second]
        observed = value[first] - value[second]
        p = _p_value(differences - differences.mean(), observed)
        found[first, second] = Comparison(observed, *_percentiles(differences, 0.95), p)
    return found


def randomization_pairs(
    metric: Metric,
    systems: Mapping[str, np.ndarray],
    n_trial: int = TEST_RESAMPLES,
    seed: int = SEED,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> dict[tuple[str, str], float]:
    """Return the p-value of `paired_randomization` for every pair of systems.

    All pairs use the same random exchanges. If there is only one example, the p-values are nan.

    Args:
        systems: statistics (N, D) by system.
        pairs: pairs to compare; by default every pair.
    """
    _check_rows(systems)
    rng = np.random.default_rng(seed)
    pairs = list(combinations(systems, 2)) if pairs is None else pairs
    if len(next(iter(systems.values()))) < ENOUGH:
        return dict.fromkeys(pairs, math.nan)
    base = [systems[first].sum(0) + systems[second].sum(0) for first, second in pairs]
    # (N, pairs * D)
    change = np.hstack([systems[first] - systems[second] for first, second in pairs])
    n_example = len(change)
    step = max(1, _CELLS // len(change))
    differences: list[list[np.ndarray]] = [[] for _ in pairs]
    for start in range(0, n_trial, step):
        signs = 1.0 - 2.0 * rng.integers(
            0, 2, (min(step, n_trial - start), n_example), dtype=np.int8
        )
        for found, both, half in zip(
            differences, base, np.split(signs @ change, len(pairs), axis=1), strict=True
        ):
            found.append(metric.scores((both + half) / 2) - metric.scores((both - half) / 2))
    observed = [_difference(metric, systems[first], systems[second]) for first, second in pairs]
    return {
        pair: _p_value(np.concatenate(found), value)
        for pair, found, value in zip(pairs, differences, observed, strict=True)
    }


def _difference(metric: Metric, first: np.ndarray, second: np.ndarray) -> float:
    return metric.score(first.sum(0)) - metric.score(second.sum(0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple testing by Holm's step-down procedure.

    It controls the family-wise error rate. Values that are nan stay nan and do not count as tests.
    Source: Holm 1979.
    """
    order = sorted(
        (i for i, p in enumerate(p_values) if not np.isnan(p)), key=lambda i: p_values[i]
    )
    corrected = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _draws(n_example: int, n_resample: int, seed: int) -> Iterable[np.ndarray]:
    """Return blocks (r, N) of numbers of times that each example is drawn in each bootstrap sample.

    The blocks have R rows in all. With them, sums of drawn rows are a matrix product. The last
    blocks are kept if they are small, since all systems and metrics use the same.
    """
    if n_example * n_resample <= _KEPT:
        return _kept_draws(n_example, n_resample, seed)
    return _new_draws(n_example, n_resample, seed)


@lru_cache(maxsize=1)
def _kept_draws(n_example: int, n_resample: int, seed: int) -> list[np.ndarray]:
    return list(_new_draws(n_example, n_resample, seed))


def _new_draws(n_example: int, n_resample: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // n_example)
    for start in range(0, n_resample, step):
        count = min(step, n_resample - start)
        drawn = (
            rng.integers(0, n_example, (count, n_example)) + n_example * np.arange(count)[:, None]
        )
        times = np.bincount(drawn.ravel(), minlength=count * n_example)
        yield times.reshape(count, n_example).astype(np.min_scalar_type(times.max()))


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    return float(low), float(high)


def _p_value(null: np.ndarray, observed: float) -> float:
    """Return the share of differences under the null hypothesis that are at least as large as the
    observed one, in absolute value.

    The observed difference itself is counted. Ties are compared with a tolerance for rounding
    errors.
    """
    if np.isnan(observed) or np.isnan(null).any():
        return float("nan")
    slack = 1e-9 * max(1.0, abs(observed))
    return float((1 + np.sum(np.abs(null) >= abs(observed) - slack)) / (1 + len(null)))


def _check_rows(systems: Mapping[str, np.ndarray]) -> None:
    shapes = {name: rows.shape for name, rows in systems.items()}
    if (
        len(systems) < 2
        or len(set(shapes.values())) > 1
        or not all(shape[0] for shape in shapes.values())
    ):
        raise ValueError(
            f"paired tests need rows of the same examples for two systems or more, but got {shapes}"
        )
