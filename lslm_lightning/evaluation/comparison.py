"""Pairwise comparison of all systems on one evaluation set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lslm_lightning.contracts import Metric, Score, join_signature, metric_label, signature_parts
from lslm_lightning.evaluation.scoring import naming
from lslm_lightning.localization import Term
from lslm_lightning.metrics.resampling import TEST_RESAMPLES
from lslm_lightning.metrics.significance import (
    SEED,
    bootstrap_pairs,
    holm,
    randomization_pairs,
)

# parts of a signature that describe how a system answers
ANSWERING = ("context", "stride", "source", "tokens", "spelling")

THIS: str = Term("this run")  # stands for the one system that is compared with others
SIGNIFICANT = 0.05  # a smaller p is taken for a difference

# scores with different values do not compare; a system without one, a compressor, compares with all
WINDOWS = ("context", "stride")
# How much of a source a system reads, how it spells unknown words and what it strips of its answers
# are properties of the system, and may make it better
FREE = ("source", "spelling", "reasoning")


@dataclass(frozen=True, slots=True)
class Pair:
    """Comparison of two systems by one metric.

    Attributes:
        first: name of the first system.
        second: name of the second system.
        metric: name of the metric.
        difference: score of the first system minus that of the second.
        low: lower bound of the 95 % interval of the difference.
        high: upper bound of the 95 % interval of the difference.
        p_bootstrap: uncorrected p-value of the bootstrap test.
        p_randomization: uncorrected p-value of the randomization test.
        p: `p_randomization`, corrected for the number of pairs.
        better: share of examples (0 to 1) on which the first system has the better score; ties
            count half.
    """

    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_randomization: float
    p: float
    better: float


def compare_systems(
    metric: Metric,
    rows: Mapping[str, np.ndarray],
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
    comparable: Callable[[str, str], bool] = lambda first, second: True,
) -> list[Pair]:
    """Return a comparison of every pair of systems; empty if fewer than two systems have this
    score.

    Args:
        rows: statistics (N, D) of `metric` on the same examples, by system.
        n_resample: number of samples of the bootstrap and of the randomization test.
        seed: seed of the random numbers of both tests.
        comparable: returns whether two systems may be ranked against each other; other pairs are
            neither tested nor counted in the correction of the p-values.
    """
    with naming(metric):
        defined = {
            name: found
            for name, found in rows.items()
            if np.isfinite(found).all() and np.isfinite(metric.score(found.sum(0)))
        }
    if len(defined) < 2:
        return []
    pairs = [pair for pair in combinations(defined, 2) if comparable(*pair)]
    if not pairs:
        return []
    with naming(metric):
        bootstrap = bootstrap_pairs(metric, defined, n_resample, seed, pairs)
        randomization = randomization_pairs(metric, defined, n_resample, seed, pairs)
        each = {
            name: np.array([metric.score_alone(row) for row in found])
            for name, found in defined.items()
        }
    corrected = dict(zip(randomization, holm(list(randomization.values())), strict=True))
    return [
        Pair(
            *pair,
            metric.name,
            found.difference,
            found.low,
            found.high,
            found.p,
            randomization[pair],
            corrected[pair],
            share_better(each[pair[0]], each[pair[1]], metric.higher_is_better),
        )
        for pair, found in bootstrap.items()
    ]


def compare_with_others(
    metric: Metric,
    rows: np.ndarray,
    others: Mapping[str, np.ndarray],
    n_resample: int = TEST_RESAMPLES,
    seed: int = SEED,
) -> list[Pair]:
    """Return comparisons of one system, called `THIS`, with each of the others.

    The p-values are corrected for the number of these pairs only. Other systems without this score
    are left out. The result is empty if the one system has no score.

    Args:
        rows: statistics (N, D) of `metric` for the one system.
        others: statistics (N, D) on the same examples, by name of the other system.
    """
    named = {THIS: rows, **others}
    return compare_systems(metric, named, n_resample, seed, lambda first, _: first == THIS)


def share_better(first: np.ndarray, second: np.ndarray, higher_is_better: bool) -> float:
    """Return the share of examples on which the score in `first` is better than that in `second`.

    Ties count half. Examples for which either score is undefined are left out; if none remains, the
    result is nan.

    Args:
        first: scores (N,) of single examples.
        second: scores (N,) of the same examples.
    """
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return float("nan")
    gain = (first - second)[both] * (1 if higher_is_better else -1)
    return float(((gain > 0) + 0.5 * (gain == 0)).mean())


def differing_parts(first: Score, second: Score) -> list[str]:
    """Return the reasons why two scores of one metric cannot be compared; empty if they can.

    A reason is a part `name:value` of the signature that differs, or a different number of
    examples. A part named in `WINDOWS` counts only if both signatures have it; a part named in
    `FREE` never counts.
    """
    parts = [
        dict(part.partition(":")[::2] for part in signature_parts(score.signature))
        for score in (first, second)
    ]
    names = [name for name in {**parts[0], **parts[1]} if parts[0].get(name) != parts[1].get(name)]
    names = [
        name
        for name in names
        if name not in FREE and (name not in WINDOWS or all(name in part for part in parts))
    ]
    found = [
        f"{name} is {parts[0].get(name, 'not given')} and {parts[1].get(name, 'not given')}"
        for name in names
    ]
    if first.n_example != second.n_example:
        found.append(f"there are {first.n_example:,} and {second.n_example:,} examples")
    return found


def comparable_signature(signature: str) -> str:
    """Return the signature without the parts named in `FREE`, which do not affect whether scores
    can be compared.
    """
    parts = signature_parts(signature)
    return join_signature(part for part in parts if part.partition(":")[0] not in FREE)


def without_windows(signature: str) -> str:
    """Return the signature without the parts named in `WINDOWS`: scores that have none compare with
    scores that differ in nothing else.
    """
    parts = signature_parts(signature)
    return join_signature(part for part in parts if part.partition(":")[0] not in WINDOWS)


def explain_incomparable(reasons: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Return sentences that say which scores are not ranked against which others, and why.

    Metrics and systems with the same reason share a sentence.

    Args:
        reasons: reason by (metric, first system, second system).
    """
    beside: dict[tuple[str, str, str], list[str]] = {}  # metric, first, reason -> seconds
    for (metric, first, second), reason in reasons.items():
        beside.setdefault((metric, first, reason), []).append(second)
    # metric, reason, seconds -> firsts
    firsts: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (metric, first, reason), seconds in beside.items():
        firsts.setdefault((metric, reason, tuple(seconds)), []).append(first)
    metrics: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (metric, reason, others), ones in firsts.items():
        metrics.setdefault((reason, tuple(ones), others), []).append(metric)
    return [
        (
            f"{listed([*map(metric_label, names)])} of {listed(ones)} cannot be ranked against "
            f"{listed(others)}: {reason}"
        )
        for (reason, ones, others), names in metrics.items()
    ]


def listed(names: Sequence[str]) -> str:
    """Return the names as an English list, such as "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
