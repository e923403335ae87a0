"""Comparison of two training recipes, each by several runs that differ in their seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from lslm_lightning.contracts import Metric
from lslm_lightning.evaluation.scoring import naming
from lslm_lightning.metrics.resampling import TEST_RESAMPLES
from lslm_lightning.metrics.significance import ENOUGH, SEED, bootstrap_totals


@dataclass(frozen=True, slots=True)
class SeedComparison:
    """Difference of the mean scores of two recipes, first minus second, with its 95 % interval.

    `test_deviation` is the standard deviation of the difference over test examples,
    `training_deviation` the standard deviation over seeds; their squares add up to the total
    variance. `p` is two-sided. With a single test example, only `difference` and
    `training_deviation` are defined; the other fields are nan.
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
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
) -> SeedComparison:
    """Compare two training recipes by at least two runs of each, all on the same examples.

    A test of single runs tells whether two models differ; this test tells whether two recipes do.
    The variance over test examples comes from the paired bootstrap, the variance over seeds from
    the differences between runs of one recipe. Welch's t test uses the sum of both variances, with
    Satterthwaite's degrees of freedom.

    Args:
        first: statistics (N, D) of each run of the first recipe.
        second: statistics (N, D) of each run of the second recipe.

    Raises:
        ValueError: a recipe has fewer than two runs, so that the variance over seeds is unknown, or
            the runs have rows of different examples.
    """
    _check_runs(first, second)
    with naming(metric):
        values = [
            np.array([metric.score(rows.sum(0)) for rows in group]) for group in (first, second)
        ]
        of_test = variance_over_examples(metric, first, second, n_resample, seed)
    difference = float(values[0].mean() - values[1].mean())
    of_seeds = variances_over_seeds(values)
    n_example = len(first[0])
    training_deviation = math.sqrt(sum(of_seeds))
    if n_example < ENOUGH:  # the variance over test examples is unknown
        nan = math.nan
        return SeedComparison(difference, nan, nan, nan, nan, training_deviation)
    total = of_test + sum(of_seeds)
    if not total > 0:
        p = 0.0 if difference else 1.0
        return SeedComparison(difference, difference, difference, p, 0.0, 0.0)
    freedom = degrees_of_freedom(of_test, n_example, of_seeds, [*map(len, values)])
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
    """Raise ValueError unless both recipes have at least two runs and all rows have the same
    shape.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(
            "the variance of training shows from 2 seeds on, but the recipes have "
            f"{len(first)} and {len(second)} runs; add --seeds 3"
        )
    check_same_examples(first, second)


def check_same_examples(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless the statistics of all runs have the same shape.

    Args:
        first: statistics (N, D) of each run of one recipe.
        second: statistics (N, D) of each run of another recipe.
    """
    shapes = [rows.shape for rows in (*first, *second)]
    if len(set(shapes)) > 1:
        raise ValueError(f"runs must have answered the same evaluation set, but have rows {shapes}")


def variances_over_seeds(values: Sequence[np.ndarray]) -> list[float]:
    """Return the variance of the mean score of each recipe, from the scores of its runs.

    Args:
        values: scores of the runs of each recipe; two or more a recipe.
    """
    return [float(np.var(value, ddof=1)) / len(value) for value in values]


def degrees_of_freedom(
    of_test: float, n_example: int, of_seeds: Sequence[float], n_seed: Sequence[int]
) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of variances.

    Args:
        of_test: variance over test examples.
        n_example: number of examples.
        of_seeds: variances over seeds, see `variances_over_seeds`; empty for single runs.
        n_seed: number of runs of each recipe; read for `of_seeds` only.
    """
    parts = [
        (of_test, n_example - 1),
        *((part, n - 1) for part, n in zip(of_seeds, n_seed, strict=False)),
    ]
    total = sum(part for part, _ in parts)
    return float(total**2 / sum(part**2 / max(1, n) for part, n in parts))


def variance_over_examples(
    metric: Metric,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    n_resample: int,
    seed: int,
) -> float:
    """Return the variance, over bootstrap samples, of the difference between the mean scores of two
    recipes.

    Args:
        first: statistics (N, D) of each run of one recipe.
        second: statistics (N, D) of each run of the other recipe.
    """
    totals = np.split(
        bootstrap_totals(np.hstack([*first, *second]), n_resample, seed),
        len(first) + len(second),
        axis=1,
    )
    scored = iter([metric.scores(part) for part in totals])
    means = [np.mean([next(scored) for _ in group], axis=0) for group in (first, second)]
    return float(np.var(means[0] - means[1], ddof=1))
