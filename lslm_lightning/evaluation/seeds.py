"""Comparison of two training recipes by several runs each, which differ in their seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from lslm_lightning.contracts import Metric
from lslm_lightning.metrics.significance import ENOUGH, N_RESAMPLE, SEED, bootstrap_totals


@dataclass(frozen=True, slots=True)
class SeedComparison:
    """Mean score of the first recipe minus that of the second, its 95 % interval, and the sources
    of its uncertainty.

    `test_deviation` is the standard deviation of the difference over other test examples,
    `training_deviation` that over other seeds; their squares add up. p is two-sided. With a single
    test example only `difference` and `training_deviation` are defined; the others are nan.
    """

    difference: float
    low: float
    high: float
    p: float
    test_deviation: float
    training_deviation: float


def compare_seeds(
    metric: Metric,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    n_resample: int = N_RESAMPLE,
    seed: int = SEED,
) -> SeedComparison:
    """Compare two recipes by the rows (N, D) of at least two runs each, all on the same examples.

    A test of single runs asks whether these two models differ; this one asks whether the recipes
    do. Variance over test examples is that of the paired bootstrap, variance over seeds that
    between runs of one recipe; Welch's t test takes their sum, with Satterthwaite's degrees of
    freedom.

    Raises:
        ValueError: there are fewer than two runs of a recipe, so that the variance over seeds is
            unknown; or rows are of different examples.
    """
    _check_runs(first, second)
    values = [np.array([metric.score(rows.sum(0)) for rows in group]) for group in (first, second)]
    difference = float(values[0].mean() - values[1].mean())
    of_test = _variance_over_examples(metric, first, second, n_resample, seed)
    of_seeds = [float(np.var(value, ddof=1)) / len(value) for value in values]
    n_example = len(first[0])
    training_deviation = math.sqrt(sum(of_seeds))
    if n_example < ENOUGH:  # the variance over test examples is unknown
        nan = math.nan
        return SeedComparison(difference, nan, nan, nan, nan, training_deviation)
    total = of_test + sum(of_seeds)
    if not total > 0:
        p = 0.0 if difference else 1.0
        return SeedComparison(difference, difference, difference, p, 0.0, 0.0)
    parts = [
        (of_test, n_example - 1),
        *((part, len(value) - 1) for part, value in zip(of_seeds, values, strict=True)),
    ]
    freedom = total**2 / sum(part**2 / max(1, n) for part, n in parts)
    reach = float(student.ppf(0.975, freedom)) * math.sqrt(total)
    p = float(2 * student.sf(abs(difference) / math.sqrt(total), freedom))
    return SeedComparison(
        difference,
        difference - reach,
        difference + reach,
        p,
        math.sqrt(of_test),
        training_deviation,
    )


def _check_runs(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless both recipes have two runs or more with rows of one shape."""
    if min(len(first), len(second)) < 2:
        raise ValueError(
            "the variance of training shows from 2 seeds on, but the recipes have "
            f"{len(first)} and {len(second)} runs; add --seeds 3"
        )
    shapes = [rows.shape for rows in (*first, *second)]
    if len(set(shapes)) > 1:
        raise ValueError(f"runs must have answered the same evaluation set, but have rows {shapes}")


def _variance_over_examples(
    metric: Metric,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    n_resample: int,
    seed: int,
) -> float:
    """Return the variance over bootstrap samples of the difference of the recipes' mean scores."""
    totals = np.split(
        bootstrap_totals(np.hstack([*first, *second]), n_resample, seed),
        len(first) + len(second),
        axis=1,
    )
    scored = iter([np.fromiter(map(metric.score, part), float, n_resample) for part in totals])
    means = [np.mean([next(scored) for _ in group], axis=0) for group in (first, second)]
    return float(np.var(means[0] - means[1], ddof=1))
