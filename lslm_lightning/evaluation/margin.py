"""Tests of whether a system is worse than a baseline by more than a margin, for gates.

The loss is the amount by which a system's score is worse than the baseline's, in the unit of the
metric and whatever the metric's direction; a gain is a negative loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student

from lslm_lightning.contracts import Metric
from lslm_lightning.evaluation.scoring import naming
from lslm_lightning.evaluation.seeds import (
    check_same_examples,
    degrees_of_freedom,
    variance_over_examples,
    variances_over_seeds,
)
from lslm_lightning.metrics.resampling import TEST_RESAMPLES
from lslm_lightning.metrics.significance import ENOUGH, SEED

Rule = Literal["non-inferiority", "regression"]
LEVEL = 0.05  # one-sided
POWER = 0.8  # for which the smallest detectable loss is told


@dataclass(frozen=True, slots=True)
class MarginTest:
    """Loss of a system against a baseline, with one-sided bounds.

    Attributes:
        loss: amount by which the system's score is worse; negative if it is better.
        low: bound below which the loss lies with a probability of at most `level`.
        high: bound above which the loss lies with a probability of at most `level`.
        p_worse: p-value of the null hypothesis that the loss is at least the margin; small if the
            system is shown not to be worse by as much.
        p_fine: p-value of the null hypothesis that the loss is at most the margin; small if the
            system is shown to be worse by more.
        deviation: standard deviation of the loss over test sets, and over seeds if there are
            several.
        freedom: degrees of freedom of the t distribution of the loss.
        n_example: number of examples.
        n_different: number of examples on which the two systems have different statistics.
        level: one-sided level of the test.
    """

    loss: float
    margin: float
    low: float
    high: float
    p_worse: float
    p_fine: float
    deviation: float
    freedom: float
    n_example: int
    n_different: int
    level: float

    def passes(self, rule: Rule) -> bool:
        """Return whether a gate lets the system pass.

        By "non-inferiority" it passes if it is shown that the loss is smaller than the margin: a
        system whose true loss equals the margin passes with a probability of at most `level`. By
        "regression" it passes unless it is shown that the loss is larger than the margin: a system
        whose true loss equals the margin fails with a probability of at most `level`.
        """
        if math.isnan(self.high):
            return False
        return self.high < self.margin if rule == "non-inferiority" else self.low <= self.margin

    def power(self, loss: float, rule: Rule) -> float:
        """Return the probability that the test shows what it looks for: by "non-inferiority" that a
        system with this true loss passes, by "regression" that it fails.
        """
        distance = self.margin - loss if rule == "non-inferiority" else loss - self.margin
        return power(distance, self.deviation, self.freedom, self.level)

    @property
    def detectable(self) -> float:
        """Smallest difference that a test of this size shows with a probability of `POWER`: the
        margin that lets equal systems pass so often, and the loss beyond the margin that a
        regression test finds so often.
        """
        return detectable(self.deviation, self.freedom, self.level)


def margin_test(
    metric: Metric,
    system: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    margin: float,
    level: float = LEVEL,
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
) -> MarginTest:
    """Test the loss of a system against a margin, on the same examples.

    The loss over its standard deviation is compared with Student's t distribution. The variance
    over test examples comes from the paired bootstrap of summed statistics, so that it is right for
    scores such as BLEU, which are no means. Two corrections keep the level for small test sets: the
    factor n / (n - 1), since the bootstrap divides by n, and 1 + 2 / k for k examples on which the
    systems differ, which is what Bonett and Price (2012) add for paired proportions (one example
    more that is won, and one that is lost). If both have several runs that differ in their seed,
    the variance over seeds is added and the degrees of freedom are Satterthwaite's, as in
    `compare_seeds`.

    If no example has different statistics, the loss is 0; its bounds are 0 for a score without a
    range, and for a score in percent they are those of a loss of 100 points on examples that were
    not drawn (Clopper and Pearson 1934: 1 - level ** (1 / n)).

    Args:
        system: statistics (N, D) of each run of the system; one, or one for each seed.
        baseline: statistics (N, D) of each run of the baseline; one, or one for each seed.
        margin: largest loss that is accepted, in the unit of the metric, at least 0.
        level: one-sided level of the test.

    Raises:
        ValueError: one side has several runs and the other has one, or the rows are of different
            examples.
    """
    check_same_examples(system, baseline)
    if (len(system) > 1) != (len(baseline) > 1):
        raise ValueError(
            f"a system of {len(system)} runs and a baseline of {len(baseline)} do not compare, "
            "since the variance over seeds of one is not known; give two parents of several seeds "
            "or two single runs"
        )
    sign = -1 if metric.higher_is_better else 1
    with naming(metric):
        values = [
            np.array([metric.score(rows.sum(0)) for rows in group]) for group in (system, baseline)
        ]
    loss = sign * float(values[0].mean() - values[1].mean()) + 0.0
    n_example = len(system[0])
    n_different = _n_different(system, baseline)
    nan = math.nan
    if n_example < ENOUGH:
        return MarginTest(loss, margin, nan, nan, nan, nan, nan, nan, n_example, n_different, level)
    of_test = 0.0
    if n_different:
        with naming(metric):
            of_test = variance_over_examples(metric, system, baseline, n_resample, seed)
        of_test *= n_example / (n_example - 1) * (1 + 2 / n_different)
    of_seeds = variances_over_seeds(values) if len(system) > 1 else []
    deviation = math.sqrt(of_test + sum(of_seeds))
    if not deviation > 0:
        return _without_variance(metric, loss, margin, level, n_example, n_different)
    freedom = degrees_of_freedom(of_test, n_example, of_seeds, [*map(len, values)])
    reach = float(student.ppf(1 - level, freedom)) * deviation
    distance = (margin - loss) / deviation
    return MarginTest(
        loss,
        margin,
        loss - reach,
        loss + reach,
        float(student.sf(distance, freedom)),
        float(student.cdf(distance, freedom)),
        deviation,
        freedom,
        n_example,
        n_different,
        level,
    )


def power(distance: float, deviation: float, freedom: float, level: float) -> float:
    """Return the probability that a one-sided t test is significant.

    Args:
        distance: true difference from the null hypothesis, in its favour if negative.
        deviation: standard deviation of the estimated difference; with 0, the test always sees a
            difference above 0.
        freedom: degrees of freedom.
        level: one-sided level of the test.
    """
    if math.isnan(deviation):
        return math.nan
    if not deviation > 0:
        return float(distance > 0)
    return float(nct.sf(student.ppf(1 - level, freedom), freedom, distance / deviation))


def detectable(
    deviation: float, freedom: float, level: float = LEVEL, wanted: float = POWER
) -> float:
    """Return the smallest true difference that a one-sided t test finds with a given probability.

    Args:
        deviation: standard deviation of the estimated difference.
        freedom: degrees of freedom.
        level: one-sided level of the test.
        wanted: probability, above `level`.
    """
    if math.isnan(deviation) or not deviation > 0:
        return deviation
    highest = 1.0
    while power(highest, 1.0, freedom, level) < wanted:
        highest *= 2
    return deviation * float(brentq(lambda x: power(x, 1.0, freedom, level) - wanted, 0.0, highest))


def _without_variance(
    metric: Metric, loss: float, margin: float, level: float, n_example: int, n_different: int
) -> MarginTest:
    """Return the test of systems whose difference does not vary over examples or seeds."""
    bounded = metric.unit == "%" and not n_different
    reach = 100 * (1 - level ** (1 / n_example)) if bounded else 0.0
    # of a share of 100-point losses that no drawn example shows
    p_worse = max(0.0, 1 - margin / 100) ** n_example if bounded else float(loss >= margin)
    p_fine = 1.0 if loss <= margin else 0.0
    return MarginTest(
        loss,
        margin,
        loss - reach,
        loss + reach,
        p_worse,
        p_fine,
        0.0,
        n_example - 1,
        n_example,
        n_different,
        level,
    )


def _n_different(system: Sequence[np.ndarray], baseline: Sequence[np.ndarray]) -> int:
    """Return the number of examples on which not all runs have the same statistics."""
    each = [*system, *baseline]
    return int(np.any([(rows != each[0]).any(axis=1) for rows in each], axis=0).sum())
