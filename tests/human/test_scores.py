"""Human scores find what was put into simulated ratings, and say how sure they are."""

import math
import random

import numpy as np
import pytest

from lslm_lightning.human.design import SheetPlan, make_sheets, seen
from lslm_lightning.human.key import EvaluationKey
from lslm_lightning.human.scores import (
    agreement_of,
    annotator_quality,
    difference_intervals,
    rated_outputs,
    system_scores,
)
from lslm_lightning.human.sheets import Rating

N = 200
ANNOTATORS = ("anna", "ben", "chen", "dora")


def simulated(method, gain, seed, per_item=2, n_item=80, attentive=None, noise=10.0, taste=0.0):
    """Ratings of two systems, of which "new" is better by `gain` points, by strict and mild people.

    Args:
        attentive: people who read; None for all.
        noise: deviation of one rating.
        taste: deviation of what a person prefers of the two systems.
    """
    rng = np.random.default_rng(seed)
    outputs = {name: [f"{name} {i} of some words" for i in range(N)] for name in ("old", "new")}
    rows = make_sheets(
        SheetPlan(method, ANNOTATORS, n_item, per_item, 0.1, 0.1), outputs, random.Random(seed)
    )
    ids = {row.item: f"id-{row.item}" for own in rows.values() for row in own}
    key = EvaluationKey(method, "translation", "2:ab", ("old", "new"), "", (), ids, rows)
    item = rng.normal(0, 10, N)
    strict = dict(zip(ANNOTATORS, (-15, 0, 10, 20)))
    scale = dict(zip(ANNOTATORS, (0.5, 1, 1, 1.3)))
    tastes = {name: rng.normal(0, taste) for name in ANNOTATORS} if taste else {}
    first = {}
    ratings = []
    for name, own in rows.items():
        for row in own:

            def quality(i, row=row, name=name):
                value = (
                    50 + item[row.item] + (gain + tastes.get(name, 0)) * (row.systems[i] == "new")
                )
                damaged = row.kind == "check" and (method != "pairwise" or row.better != "AB"[i])
                reads = attentive is None or name in attentive
                return value - 40 * damaged * reads + rng.normal(0, noise)

            if method == "pairwise":
                difference = quality(0) - quality(1)
                value = 0.5 if abs(difference) < 2 else float(difference > 0)
                ratings.append(Rating(row, value))
                continue
            value = 50 + strict[name] + scale[name] * (quality(0) - 50)
            if row.kind == "repeat":
                value = first[row.of] + rng.normal(0, 2)
            first[row.id] = value
            worst = 1 + int(value < 40) if value < 60 else 0
            if method == "mqm":
                value = max(0.0, round((100 - value) / 10))
            ratings.append(Rating(row, float(np.clip(value, 0, 100)), worst))
    return key, ratings


@pytest.mark.parametrize("method", ["direct", "pairwise", "mqm"])
def test_the_better_system_is_found(method):
    key, ratings = simulated(method, 8.0, 0)
    rated = rated_outputs(ratings, key)
    scores = system_scores(rated, key.systems)
    sign = -1 if method == "mqm" else 1
    [(low, high)] = difference_intervals(rated, [("new", "old")]).values()
    difference = scores["new"].standard - scores["old"].standard
    assert low < difference < high
    assert sign * difference > 0
    assert min(sign * low, sign * high) > 0
    for own in scores.values():
        assert own.low < own.standard < own.high


def test_standardized_scores_forget_who_is_strict():
    """Where two people rate other items, their strictness is not taken for a difference."""
    key, ratings = simulated("direct", 0.0, 1)
    rated = rated_outputs(ratings, key)
    means = {
        name: np.mean([each.standard for each in rated if each.annotator == name])
        for name in ANNOTATORS
    }
    assert np.ptp(list(means.values())) < 1e-9
    raw = {
        name: np.mean([each.value for each in rated if each.annotator == name])
        for name in ANNOTATORS
    }
    assert np.ptp(list(raw.values())) > 20
    every = [each.standard for each in rated]
    assert np.mean(every) == pytest.approx(np.mean([each.value for each in rated]))


@pytest.mark.slow
def test_intervals_of_equal_systems_hold_the_truth_as_often_as_they_say():
    """Also where people have tastes of their own, which an interval over items alone would miss."""
    for taste in (0.0, 4.0):
        missed = 0
        for seed in range(100):
            key, ratings = simulated("direct", 0.0, seed, n_item=40, taste=taste)
            rated = rated_outputs(ratings, key)
            [(low, high)] = difference_intervals(rated, [("new", "old")], 400).values()
            missed += not low <= 0 <= high
        assert missed <= 11, (taste, missed)  # of 100 at 5 %


@pytest.mark.parametrize("method", ["direct", "pairwise", "mqm"])
def test_inattentive_annotators_are_told_from_others(method):
    key, ratings = simulated(method, 5.0, 3, n_item=160, attentive=ANNOTATORS[:3])
    quality = annotator_quality(ratings, method)
    shares = {name: own.noticed / own.checked for name, own in quality.items()}
    assert min(shares[name] for name in ANNOTATORS[:3]) > 0.75
    assert shares[ANNOTATORS[3]] < 0.75
    for name, own in quality.items():
        rows = [row for row in key.rows[name] if row.kind == "rating"]
        assert own.n == len(rows)
        assert own.repeated == own.checked == round(0.1 * len(rows))
    if method == "direct":
        assert all(own.difference < 5 for own in quality.values())


def test_agreement_rises_with_it():
    _, ratings = simulated("pairwise", 0.0, 4, noise=200.0)
    [chance] = agreement_of(ratings, "pairwise").values()
    _, ratings = simulated("pairwise", 60.0, 4, noise=1.0)
    [none_differs] = agreement_of(ratings, "pairwise").values()
    assert abs(chance) < 0.25
    assert math.isnan(none_differs) or none_differs > 0.9
    noisy, quiet = (
        agreement_of(simulated("direct", 0.0, 5, noise=noise)[1], "direct") for noise in (30.0, 2.0)
    )
    name = "standardized scores, interval"
    assert quiet[name] > noisy[name] + 0.3
    assert quiet[name] > quiet["scores, interval"], "strict and mild people seem to disagree"


def test_a_pair_that_was_turned_counts_for_the_same_system():
    """Sides are drawn; the one who always prefers "new" has won all."""
    key, ratings = simulated("pairwise", 0.0, 6)
    ratings = [Rating(each.row, 1.0 if each.row.systems[0] == "new" else 0.0) for each in ratings]
    scores = system_scores(rated_outputs(ratings, key), key.systems)
    assert (scores["new"].mean, scores["old"].mean) == (100, 0)


def test_ties_are_of_equal_outputs_alone():
    """Half of the outputs are equal, and who answers half of the other pairs prefers "new"."""
    outputs = {name: [name if i % 2 else "same" for i in range(N)] for name in ("old", "new")}
    plan = SheetPlan("pairwise", ("anna", "ben"), N, 1, 0.0, 0.0)
    rows = make_sheets(plan, outputs, random.Random(0))
    ids = {row.item: f"id-{row.item}" for own in rows.values() for row in own}
    key = EvaluationKey("pairwise", "translation", "2:ab", ("old", "new"), "", (), ids, rows)
    ratings = [
        Rating(row, float(row.systems[0] == "new")) for own in rows.values() for row in seen(own)
    ]
    scores = system_scores(rated_outputs(ratings, key), key.systems)
    assert (scores["new"].mean, scores["new"].n) == (75, N)
    own = [each for each in ratings if each.row.annotator == "anna"]
    scores = system_scores(rated_outputs(own, key), key.systems)
    assert scores["new"].n == len(rows["anna"])


def test_a_pair_without_an_answer_is_no_tie():
    outputs = {name: [f"{name} {i}" for i in range(N)] for name in ("old", "new", "newest")}
    plan = SheetPlan("pairwise", ("anna",), 1, 1, 0.0, 0.0)
    rows = make_sheets(plan, outputs, random.Random(0))
    [item] = {row.item for row in rows["anna"]}
    key = EvaluationKey(
        "pairwise", "translation", "2:ab", tuple(outputs), "", (), {item: "a"}, rows
    )
    first = rows["anna"][0]
    values = {each.system: each.value for each in rated_outputs([Rating(first, 1.0)], key)}
    assert values == {first.systems[0]: 100, first.systems[1]: 0}


def test_answers_to_controls_alone_score_nothing():
    key, ratings = simulated("direct", 0.0, 7)
    assert rated_outputs([each for each in ratings if each.row.kind != "rating"], key) == []
