"""The tests behind gates hold their level and have the power that they tell, on simulated systems
whose true loss is known.
"""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, binomtest, ttest_rel

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.margin import detectable, margin_test, power
from lslm_lightning.evaluation.seeds import compare_seeds
from lslm_lightning.metrics.agreement import ExactMatch
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.error_rate import WordErrorRate
from tests.metrics.test_significance import Mean, mean_rows

N_TRIAL = 200
MOST = 16  # of 200 at 5 %; more come by chance in one of 40 simulations
N_RESAMPLE = 300
WORDS = [f"word{i}" for i in range(60)]


class Lost(Mean):
    """The mean of a number of which less is better."""

    higher_is_better = False


@cache
def population(metric_class, n=1500, worse=0.25, better=0.15):
    """Statistics (N, D) of two systems that replace words of their references, one more often."""
    rng = np.random.default_rng(7)
    metric = metric_class()
    examples = [
        Example(str(i), "", (" ".join(rng.choice(WORDS, rng.integers(4, 15))),)) for i in range(n)
    ]

    def outputs(share):
        shares = rng.gamma(2, share / 2, n).clip(0, 1)  # some answers are much worse
        return [
            Prediction(
                example.id,
                " ".join(
                    rng.choice(WORDS) if rng.random() < own else word
                    for word in example.references[0].split()
                ),
            )
            for example, own in zip(examples, shares, strict=True)
        ]

    return metric, [metric.rows(examples, outputs(share)) for share in (worse, better)]


def drawn(metric_class, trial, n):
    """A test set of `n` examples, with the answers of both systems."""
    metric, (worse, better) = population(metric_class)
    rng = np.random.default_rng(trial)
    chosen = rng.integers(0, len(worse), n)
    return metric, worse[chosen], better[chosen], rng


def equal_pair(metric_class, trial, n):
    """Two systems that are equal: who wrote which answer was drawn for each example."""
    metric, first, second, rng = drawn(metric_class, trial, n)
    swapped = rng.random(n)[:, None] < 0.5
    return metric, np.where(swapped, second, first), np.where(swapped, first, second)


def true_loss(metric_class):
    metric, (worse, better) = population(metric_class)
    return abs(metric.score(worse.sum(0)) - metric.score(better.sum(0)))


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize("metric_class", [Bleu, WordErrorRate])
def test_equal_systems_fail_a_regression_gate_as_rarely_as_its_level_says(metric_class, n):
    alarms = 0
    for trial in range(N_TRIAL):
        metric, first, second = equal_pair(metric_class, trial, n)
        found = margin_test(metric, [first], [second], 0.0, n_resample=N_RESAMPLE)
        alarms += not found.passes("regression")
    assert alarms <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize("metric_class", [Bleu, WordErrorRate])
def test_a_system_as_bad_as_the_margin_passes_as_rarely_as_the_level_says(metric_class, n):
    """And fails as rarely where a larger loss must be shown."""
    margin = true_loss(metric_class)
    passed = alarms = 0
    for trial in range(N_TRIAL):
        metric, worse, better, _ = drawn(metric_class, trial, n)
        found = margin_test(metric, [worse], [better], margin, n_resample=N_RESAMPLE)
        passed += found.passes("non-inferiority")
        alarms += not found.passes("regression")
    assert passed <= MOST
    assert alarms <= MOST


def right_or_wrong(trial, n, lost, won):
    """Answers of two systems that are right or wrong; the first loses and wins these shares."""
    rng = np.random.default_rng(trial)
    kind = rng.random(n)
    shared = rng.random(n) < 0.7
    first = np.where(kind < lost, False, np.where(kind < lost + won, True, shared))
    second = np.where(kind < lost, True, np.where(kind < lost + won, False, shared))
    return [mean_rows(each.astype(float)) for each in (first, second)]


@pytest.mark.parametrize(("lost", "won"), [(0.05, 0.05), (0.2, 0.2), (0.15, 0.05)])
@pytest.mark.parametrize("n", [20, 100, 400])
def test_shares_of_right_answers_keep_the_level(n, lost, won):
    margin = 100 * (lost - won)
    passed = alarms = 0
    for trial in range(N_TRIAL):
        first, second = right_or_wrong(trial, n, lost, won)
        found = margin_test(ExactMatch(), [first], [second], margin, n_resample=N_RESAMPLE)
        passed += found.passes("non-inferiority")
        alarms += not found.passes("regression")
    assert passed <= MOST
    assert alarms <= MOST


@pytest.mark.parametrize("n_example", [30, 200])
@pytest.mark.parametrize("margin", [0.1, 0.25])
def test_systems_pass_as_often_as_the_computed_power(n_example, margin):
    """Answers whose differences are normal, of equal systems and of one that is a little worse."""
    deviation = 1 / np.sqrt(n_example) * np.sqrt(1 + 2 / n_example)
    for loss in (0.0, 0.05):
        passed = 0
        for trial in range(N_TRIAL):
            rng = np.random.default_rng([trial, n_example])
            shared = rng.normal(0, 3, n_example)
            rows = [mean_rows(shared), mean_rows(shared + rng.normal(loss, 1, n_example))]
            found = margin_test(Mean(), rows[:1], rows[1:], margin, n_resample=N_RESAMPLE)
            assert found.loss == pytest.approx((rows[1] - rows[0])[:, 0].mean())
            passed += found.passes("non-inferiority")
        expected = power(margin - loss, deviation, n_example - 1, 0.05)
        low, high = binom.interval(0.99, N_TRIAL, expected)
        assert low <= passed <= high, (loss, expected, passed)


def test_equal_systems_pass_with_80_percent_at_the_margin_that_is_told():
    """And a loss as large is found by a regression gate as often."""
    n_example = 150
    deviation = 1 / np.sqrt(n_example)
    margin = detectable(deviation, n_example - 1)
    passed = found = 0
    for trial in range(N_TRIAL):
        rng = np.random.default_rng(trial)
        shared = rng.normal(0, 3, n_example)
        first = [mean_rows(shared)]
        equal, worse = (
            [mean_rows(shared + rng.normal(shift, 1, n_example))] for shift in (0, -margin)
        )
        passed += margin_test(Mean(), equal, first, margin, n_resample=N_RESAMPLE).passes(
            "non-inferiority"
        )
        found += not margin_test(Mean(), worse, first, 0.0, n_resample=N_RESAMPLE).passes(
            "regression"
        )
    low, high = binom.interval(0.99, N_TRIAL, 0.8)
    assert low <= passed <= high
    assert low <= found <= high


def test_recipes_at_the_margin_pass_as_rarely_as_the_level_says():
    """Three seeds each, where the seeds vary more than the test examples."""
    passed = 0
    for trial in range(N_TRIAL):
        rng = np.random.default_rng(trial)
        shared = rng.normal(0, 1, 200)
        groups = [
            [
                mean_rows(shared + shift + rng.normal(0, 0.3) + rng.normal(0, 0.5, 200))
                for _ in range(3)
            ]
            for shift in (-0.2, 0.0)
        ]
        found = margin_test(Mean(), *groups, 0.2, n_resample=100)
        passed += found.passes("non-inferiority")
    assert passed <= MOST


def test_the_direction_of_a_metric_decides_what_a_loss_is():
    rng = np.random.default_rng(0)
    first, second = (mean_rows(rng.normal(shift, 1, 100)) for shift in (1.0, 0.0))
    gain = margin_test(Mean(), [first], [second], 0.5)
    loss = margin_test(Lost(), [first], [second], 0.5)
    assert gain.loss < 0
    assert gain.loss == pytest.approx(-loss.loss)
    assert gain.high == pytest.approx(-loss.low)
    assert gain.passes("non-inferiority")
    assert gain.passes("regression")
    assert not loss.passes("non-inferiority")


def test_a_mean_is_tested_as_by_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, (2, 1000))
    own = margin_test(Mean(), [mean_rows(first)], [mean_rows(second)], 0.0, n_resample=10_000)
    theirs = ttest_rel(second, first, alternative="greater")
    assert own.p_fine == pytest.approx(theirs.pvalue, abs=0.01)
    assert own.low == pytest.approx(theirs.confidence_interval(0.95).low, abs=0.003)
    assert own.p_fine + own.p_worse == pytest.approx(1)


def test_recipes_are_tested_as_by_compare():
    """Half of a two-sided 95 % interval is a one-sided bound at 2.5 %."""
    rng = np.random.default_rng(2)
    groups = [[mean_rows(rng.normal(0, 1, 300)) for _ in range(3)] for _ in range(2)]
    own = margin_test(Mean(), *groups, 0.0, level=0.025)
    theirs = compare_seeds(Mean(), *groups)
    assert -own.loss == pytest.approx(theirs.difference)
    assert -own.high == pytest.approx(theirs.low, rel=0.01)
    assert -own.low == pytest.approx(theirs.high, rel=0.01)


@pytest.mark.parametrize("n", [10, 58, 59, 400])
def test_answers_that_never_differ_tell_as_much_as_their_number(n):
    """That none of n examples was lost is the binomial test of the share that the margin allows."""
    rows = mean_rows(np.ones(n))
    found = margin_test(ExactMatch(), [rows], [rows], 5.0)
    exact = binomtest(0, n, 0.05, alternative="less").pvalue
    assert found.loss == 0
    assert found.p_worse == pytest.approx(exact)
    assert found.passes("non-inferiority") == (exact < 0.05)
    assert found.passes("regression")
    assert margin_test(Mean(), [rows], [rows], 0.1).passes("non-inferiority")


def test_one_example_and_unlike_sides_show_nothing():
    one = mean_rows(np.ones(1))
    assert not margin_test(Mean(), [one], [one], 1.0).passes("non-inferiority")
    assert not margin_test(Mean(), [one], [one], 1.0).passes("regression")
    rows = mean_rows(np.arange(5.0))
    with pytest.raises(ValueError, match="2 runs and a baseline of 1"):
        margin_test(Mean(), [rows, rows], [rows], 1.0)
    with pytest.raises(ValueError, match="same evaluation set"):
        margin_test(Mean(), [rows], [rows[:3]], 1.0)
