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
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"noise of training shows from 2 seeds on, but there are {len(first)} and "
            f"{len(second)} runs; add --seeds 3"
        )
    if len({rows.shape for rows in (*first, *second)}) > 1:
        raise ValueError(
            "runs must have answered the same exam, but have rows "
            f"{[rows.shape for rows in (*first, *second)]}"
        )
    groups = (first, second)
    drawn = []
    values = []
    totals = np.split(
        bootstrap_totals(np.hstack([*first, *second]), n_resample, seed),
        len(first) + len(second),
        axis=1,
    )
    scored = iter([np.fromiter(map(metric.score, part), float, n_resample) for part in totals])
    for group in groups:
        drawn.append(np.mean([next(scored) for _ in group], axis=0))
        values.append(np.array([metric.score(rows.sum(0)) for rows in group]))
    difference = float(values[0].mean() - values[1].mean())
    of_test = float(np.var(drawn[0] - drawn[1], ddof=1))
    of_seeds = [float(np.var(value, ddof=1)) / len(value) for value in values]
    if len(first[0]) < ENOUGH:  # how much another test example would change is not known
        return SeedComparison(difference, *4 * [math.nan], math.sqrt(sum(of_seeds)))
    total = of_test + sum(of_seeds)
    if not total > 0:
        return SeedComparison(
            difference, difference, difference, 0.0 if difference else 1.0, 0.0, 0.0
        )
    parts = [
        (of_test, len(first[0]) - 1),
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
        math.sqrt(sum(of_seeds)),
    )
