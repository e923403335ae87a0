"""Pairs of systems: one table of tests agrees with tests of single pairs, and the correction keeps
its promise.
"""

import numpy as np
import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.comparison import (
    compare_systems,
    differing_parts,
    explain_incomparable,
    share_better,
)
from lslm_lightning.evaluation.seeds import compare_seeds
from lslm_lightning.metrics.significance import holm, paired_bootstrap, paired_randomization
from tests.metrics.test_significance import Mean, mean_rows

RNG = np.random.default_rng(5)
SYSTEMS = {
    name: mean_rows(RNG.normal(mean, 1, 200)) for name, mean in (("a", 0.0), ("b", 0.1), ("c", 0.6))
}


def test_all_pairs_agree_with_each_pair_alone():
    for pair in compare_systems(Mean(), SYSTEMS, n_resample=500):
        first = SYSTEMS[pair.first]
        second = SYSTEMS[pair.second]
        bootstrap, randomization = (
            test(Mean(), first, second, 500) for test in (paired_bootstrap, paired_randomization)
        )
        assert (pair.difference, pair.low, pair.high, pair.p_bootstrap) == pytest.approx(
            (bootstrap.difference, bootstrap.low, bootstrap.high, bootstrap.p)
        )
        assert pair.p_randomization == pytest.approx(randomization.p)
        assert pair.p >= pair.p_randomization


class Ratio(Mean):
    """Metric that cannot score a draw without the one example that counts."""

    name = "ratio"

    def score(self, total: np.ndarray) -> float:
        return 1 / int(total[0])


def test_a_metric_that_fails_in_a_test_is_named():
    rows = np.stack([np.arange(8) == 0, np.ones(8)], axis=1).astype(float)
    with pytest.raises(ValueError, match=r"^metric ratio: .*zero"):
        compare_systems(Ratio(), {"a": rows, "b": rows}, n_resample=50)
    with pytest.raises(ValueError, match=r"^metric ratio: .*zero"):
        compare_seeds(Ratio(), [rows, rows], [rows, rows], 50)


def test_holm_on_the_example_of_the_textbook():
    # Wright 1992, by hand
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert np.isnan(holm([float("nan"), 0.01])[0])
    assert holm([float("nan"), 0.01])[1] == 0.01


def test_a_system_without_the_score_is_in_no_pair():
    pairs = compare_systems(Mean(), SYSTEMS | {"mute": np.full((200, 2), np.nan)}, n_resample=100)
    assert {name for pair in pairs for name in (pair.first, pair.second)} == set(SYSTEMS)
    assert compare_systems(Mean(), {"a": SYSTEMS["a"]}, n_resample=100) == []


def test_the_share_of_examples_counts_ties_half_and_knows_the_direction():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    second = np.array([0.0, 2.0, 4.0, 3.0])
    assert share_better(first, second, True) == pytest.approx(2.5 / 4)
    assert share_better(first, second, False) == pytest.approx(1.5 / 4)


def score(signature: str, n: int = 10) -> Score:
    return Score("bleu", 1.0, "", True, signature, n)


def test_signatures_that_differ_say_in_which_part():
    assert differing_parts(score("tok:zh|case:mixed"), score("tok:zh|case:mixed")) == []
    assert differing_parts(score("tok:zh|case:mixed"), score("tok:13a|case:mixed")) == [
        "tok is zh and 13a"
    ]
    assert differing_parts(score("tok:zh|context:64"), score("tok:zh|context:256")) == [
        "context is 64 and 256"
    ]
    assert differing_parts(score("tok:zh"), score("tok:zh|context:256")) == [], (
        "a compressor has no window"
    )
    assert differing_parts(score("tok:zh|source:64"), score("tok:zh|source:256")) == [], (
        "a shorter context is a property of the system"
    )
    assert differing_parts(score("tok:zh"), score("tok:zh|stem:no")) == ["stem is not given and no"]
    assert differing_parts(score("a:b", 10), score("a:b", 9)) == ["there are 10 and 9 examples"]


def test_what_is_not_ranked_is_said_in_as_few_lines_as_say_it_all():
    groups = {"a": 1, "b": 1, "c": 2, "d": 3}
    pairs = [(x, y) for x in groups for y in groups if x < y and groups[x] != groups[y]]
    reasons = {
        (metric, x, y): f"tokens is {groups[x]} and {groups[y]}"
        for metric in ("m", "n")
        for x, y in pairs
    }
    assert explain_incomparable(reasons | {("o", "a", "b"): "another"}) == [
        "m and n of a and b cannot be ranked against c: tokens is 1 and 2",
        "m and n of a and b cannot be ranked against d: tokens is 1 and 3",
        "m and n of c cannot be ranked against d: tokens is 2 and 3",
        "o of a cannot be ranked against b: another",
    ]
