"""Intervals and p-values against sacreBLEU's own, against theory, and against chance."""

import math

import numpy as np
import pytest
from rouge_score import scoring
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest, _compute_p_value

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.metrics.bleu import Bleu, Chrf
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.metrics.significance import (
    bootstrap_totals,
    interval,
    paired_bootstrap,
    paired_randomization,
)
from tests.support.metrics import statistics_of

RNG = np.random.default_rng(3)
WORDS = [f"word{i}" for i in range(200)]
REFERENCES = [" ".join(RNG.choice(WORDS, RNG.integers(5, 20))) for _ in range(300)]


class Mean(Metric):
    """The mean of a number: what statistics books solve on paper."""

    name = "mean"
    unit = ""
    higher_is_better = True
    signature = ""

    def statistics(self, example, prediction):
        return np.array([prediction.nats, 1.0])

    def score(self, total):
        return float(total[0] / total[1])


def mean_rows(values):
    return np.stack([values, np.ones_like(values)], axis=1)


def noisy(share, seed):
    rng = np.random.default_rng(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text.split())
        for text in REFERENCES
    ]


def rows_of(metric, outputs):
    return np.stack(
        [
            statistics_of(metric, Prediction("", output), [reference])
            for output, reference in zip(outputs, REFERENCES, strict=True)
        ]
    )


FIRST = noisy(0.30, 1)
SECOND = noisy(0.32, 2)
WORSE = noisy(0.45, 4)


def test_resampling_draws_as_many_examples_as_there_are():
    drawn = bootstrap_totals(np.eye(50), n_resample=400)
    assert (drawn.sum(1) == 50).all()
    assert (drawn == drawn.round()).all()
    assert drawn.mean(0) == pytest.approx(np.ones(50), abs=0.2)  # each as often as any other
    assert drawn.var() == pytest.approx(1 - 1 / 50, abs=0.05)  # binomial


def test_the_seed_decides_and_systems_share_their_draws():
    rows = RNG.normal(size=(40, 3))
    assert (bootstrap_totals(rows, 50, seed=1) == bootstrap_totals(rows, 50, seed=1)).all()
    assert (bootstrap_totals(rows, 50, seed=1) != bootstrap_totals(rows, 50, seed=2)).any()
    both = bootstrap_totals(np.hstack([rows, rows]), 50)
    np.testing.assert_allclose(both[:, :3], both[:, 3:], rtol=1e-12)


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = interval(Mean(), bootstrap_totals(mean_rows(values), 10_000))
    error = values.std() / 20
    assert (low, high) == (
        pytest.approx(values.mean() - 1.96 * error, abs=0.02),
        pytest.approx(values.mean() + 1.96 * error, abs=0.02),
    )


@pytest.mark.parametrize(
    ("metric", "theirs"), [(Bleu(), BLEU()), (Chrf(), CHRF())], ids=["bleu", "chrf"]
)
def test_intervals_against_sacrebleu(metric, theirs):
    expected = theirs.corpus_score(FIRST, [REFERENCES], n_bootstrap=1000)
    low, high = interval(metric, bootstrap_totals(rows_of(metric, FIRST), 10_000))
    assert (high - low) / 2 == pytest.approx(expected._ci, rel=0.1)
    assert (high + low) / 2 == pytest.approx(expected._mean, abs=0.1 * float(expected._ci))


def test_intervals_against_rouge_score():
    metric = Rouge("2")
    rows = rows_of(metric, FIRST)
    aggregator = scoring.BootstrapAggregator(confidence_interval=0.95, n_samples=2000)
    for f1, _ in rows:
        aggregator.add_scores({"rouge2": scoring.Score(0, 0, f1)})
    np.random.seed(0)
    theirs = aggregator.aggregate()["rouge2"]
    low, high = interval(metric, bootstrap_totals(rows, 10_000))
    width = 100 * (theirs.high.fmeasure - theirs.low.fmeasure)
    assert (low, high) == (
        pytest.approx(100 * theirs.low.fmeasure, abs=width / 15),
        pytest.approx(100 * theirs.high.fmeasure, abs=width / 15),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "theirs"), [(Bleu(), BLEU()), (Chrf(), CHRF())], ids=["bleu", "chrf"]
)
def test_randomization_against_sacrebleu(metric, theirs):
    _, table = PairedTest(
        [("a", FIRST), ("b", SECOND)], {"m": theirs}, [REFERENCES], test_type="ar", n_samples=4000
    )()
    expected = next(results[1].p_value for name, results in table.items() if name != "System")
    ours = paired_randomization(metric, rows_of(metric, FIRST), rows_of(metric, SECOND), 4000)
    assert ours.p == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)
    assert 0.01 < ours.p < 0.99  # else this compares nothing


@pytest.mark.slow
def test_bootstrap_against_sacrebleu():
    """The resamples are the same in distribution: its formula for p, on ours, gives its p. Ours has
    two tails (see the docstring).
    """
    metric = Bleu()
    n = 4000
    first = rows_of(metric, FIRST)
    second = rows_of(metric, SECOND)
    _, table = PairedTest(
        [("a", FIRST), ("b", SECOND)], {"m": BLEU()}, [REFERENCES], test_type="bs", n_samples=n
    )()
    totals = bootstrap_totals(np.hstack([first, second]), n)
    differences = np.array(
        [metric.score(total[:10]) - metric.score(total[10:]) for total in totals]
    )
    ours = paired_bootstrap(metric, first, second, n)
    theirs = _compute_p_value(
        np.abs(differences) - np.abs(differences).mean(), abs(ours.difference)
    )
    assert theirs == pytest.approx(table["BLEU"][1].p_value, abs=4 * (0.25 / n) ** 0.5)
    assert ours.low < differences.mean() < ours.high


@pytest.mark.parametrize("test", [paired_bootstrap, paired_randomization])
def test_a_system_does_not_differ_from_itself(test):
    for metric in (Bleu(), Rouge("L")):
        rows = rows_of(metric, FIRST)
        same = test(metric, rows, rows.copy(), 500)
        assert (same.difference, same.p) == (0, 1)
        assert (same.low, same.high) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("test", [paired_bootstrap, paired_randomization])
def test_a_true_difference_is_found_and_has_a_sign(test):
    better = rows_of(Bleu(), FIRST)
    worse = rows_of(Bleu(), WORSE)
    found = test(Bleu(), better, worse, 1000)
    turned = test(Bleu(), worse, better, 1000)
    assert found.p == turned.p == pytest.approx(1 / 1001)  # no resample reached it
    assert found.difference == -turned.difference > 0
    assert 0 < found.low < found.difference < found.high


@pytest.mark.parametrize("test", [paired_bootstrap, paired_randomization])
def test_equal_systems_are_called_different_five_times_in_a_hundred(test):
    rng = np.random.default_rng(5)
    n_trial = 400
    samples = (
        (mean_rows(rng.normal(5, 1, 100)), mean_rows(rng.normal(5, 1, 100))) for _ in range(n_trial)
    )
    share = np.mean(
        [
            test(Mean(), first, second, 200, seed=trial).p < 0.05
            for trial, (first, second) in enumerate(samples)
        ]
    )
    assert share == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / n_trial) ** 0.5)


def test_what_is_not_defined_has_no_p():
    rows = np.full((5, 2), np.nan)
    assert np.isnan(paired_bootstrap(Mean(), rows, rows, 10).p)


@pytest.mark.parametrize("test", [paired_bootstrap, paired_randomization])
def test_one_example_says_nothing_about_chance(test):
    """Resampled, it never varies: an interval without width and p = 1 would be no measurement."""
    found = test(Mean(), mean_rows(np.array([3.0])), mean_rows(np.array([1.0])), 50)
    assert found.difference == 2
    assert all(math.isnan(value) for value in (found.low, found.high, found.p))
    found = test(Mean(), mean_rows(np.array([3.0, 4.0])), mean_rows(np.array([1.0, 1.0])), 50)
    assert not any(math.isnan(value) for value in (found.low, found.high, found.p))


def test_rows_must_be_of_the_same_examples():
    with pytest.raises(
        ValueError, match=r"same examples for two systems or more, but got .*\(3, 2\).*\(4, 2\)"
    ):
        paired_bootstrap(Mean(), np.ones((3, 2)), np.ones((4, 2)))
