"""Noise of training is told from noise of the test set."""

import numpy as np
import pytest

from lslm_lightning.evaluation.seeds import compare_seeds
from tests.metrics.test_significance import Mean, mean_rows

N = 400


def recipe(rng, examples, gain, of_seeds, n_seed=4):
    """Runs of one recipe: what all runs find hard, a gain, luck of the seed, and noise of each
    answer.
    """
    return [
        mean_rows(examples + gain + rng.normal(0, of_seeds) + rng.normal(0, 0.3, N))
        for _ in range(n_seed)
    ]


def p_values(gain, of_seeds, n_trial=60):
    found = []
    for trial in range(n_trial):
        rng = np.random.default_rng(trial)
        examples = rng.normal(0, 1, N)
        found.append(
            compare_seeds(
                Mean(),
                recipe(rng, examples, gain, of_seeds),
                recipe(rng, examples, 0.0, of_seeds),
                200,
            ).p
        )
    return np.array(found)


def test_equal_recipes_differ_as_rarely_as_the_level_says():
    """Here single runs would differ almost always: each seed is worth 0.2."""
    assert (p_values(0.0, of_seeds=0.2) < 0.05).mean() <= 0.15


def test_a_true_gain_is_found():
    assert (p_values(0.5, of_seeds=0.1) < 0.05).mean() > 0.9


def test_the_parts_of_the_noise_are_those_that_were_put_in():
    rng = np.random.default_rng(0)
    examples = rng.normal(0, 1, N)
    found = compare_seeds(
        Mean(), recipe(rng, examples, 0, 0.5, 30), recipe(rng, examples, 0, 0.5, 30), 500
    )
    assert found.training_deviation == pytest.approx(0.5 * np.sqrt(2 / 30), rel=0.25)
    assert found.test_deviation == pytest.approx(0.3 * np.sqrt(2 / 30 / N), rel=0.25)
    assert found.low < 0 < found.high


def test_one_run_says_nothing_of_other_seeds():
    rows = mean_rows(np.arange(5.0))
    with pytest.raises(ValueError, match="2 seeds"):
        compare_seeds(Mean(), [rows], [rows, rows])


def test_with_one_test_example_only_the_deviation_over_seeds_is_known():
    one, two = (
        [np.array([[value, 1.0]]) for value in values] for values in ((3.0, 4.0), (1.0, 1.5))
    )
    found = compare_seeds(Mean(), one, two, 20)
    assert found.difference == pytest.approx(2.25)
    assert found.training_deviation > 0
    assert all(np.isnan(value) for value in (found.low, found.high, found.p, found.test_deviation))
