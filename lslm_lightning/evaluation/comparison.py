"""Pairwise comparison of all systems on one evaluation set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lslm_lightning.contracts import Metric, Score, metric_label
from lslm_lightning.metrics.significance import (
    N_RESAMPLE,
    SEED,
    bootstrap_pairs,
    holm,
    randomization_pairs,
)

# parts of a signature that describe how a system answers
ANSWERING = ("context", "stride", "source", "tokens", "spelling")

THIS = "this run"  # stands for the one system that is compared with others
SIGNIFICANT = 0.05  # a smaller p is taken for a difference

# scores with different values do not compare; a system without one, a compressor, compares with all
WINDOWS = ("context", "stride")
# How much of a source a system reads, how it spells unknown words and what it strips of its answers
# are properties of the system, and may make it better
FREE = ("source", "spelling", "reasoning")


@dataclass(frozen=True, slots=True)
class Pair:
    """Comparison of two systems by one metric: the score of the first minus that of the second.

    `low` and `high` bound the 95 % interval of the difference. `p_bootstrap` and `p_randomization`
    are the uncorrected p-values of the two tests, `p` is the second one corrected for the number of
    pairs. `better` is the share of examples (0 to 1) on which the first system has the better score
    for that example, ties counted half.
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
    n_resample: int = N_RESAMPLE,
    seed: int = SEED,
    comparable: Callable[[str, str], bool] = lambda first, second: True,
) -> list[Pair]:
    """Compare every pair of systems by their rows (N, D) of the same examples; return an empty list
    where fewer than two have this score.

    Args:
        comparable: whether two systems may be ranked; other pairs are not tested, and not counted
            in the correction.
    """
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
    bootstrap = bootstrap_pairs(metric, defined, n_resample, seed, pairs)
    randomization = randomization_pairs(metric, defined, n_resample, seed, pairs)
    corrected = dict(zip(randomization, holm(list(randomization.values())), strict=True))
    each = {
        name: np.array([metric.score_alone(row) for row in found])
        for name, found in defined.items()
    }
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
    n_resample: int = N_RESAMPLE,
    seed: int = SEED,
) -> list[Pair]:
    """Compare one system, `THIS`, with each of the others by their rows (N, D) of the same
    examples.

    p is corrected for the number of these pairs alone. Others without this score are left out; the
    result is empty where the system itself has none.
    """
    named = {THIS: rows, **others}
    return compare_systems(metric, named, n_resample, seed, lambda first, _: first == THIS)


def share_better(first: np.ndarray, second: np.ndarray, higher_is_better: bool) -> float:
    """Return the share of examples on which the first score is better, ties counted half; examples
    without both scores are left out, and nan is returned where none is left.
    """
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return float("nan")
    gain = (first - second)[both] * (1 if higher_is_better else -1)
    return float(((gain > 0) + 0.5 * (gain == 0)).mean())


def differing_parts(first: Score, second: Score) -> list[str]:
    """Return the reasons why two scores of one metric do not compare: signature parts that differ,
    and different numbers of examples.

    Empty where they compare. A part is `name:value`, joined by "|". A part in `WINDOWS` that only
    one score has is no difference, nor is any part in `FREE`.
    """
    parts = [
        dict(part.partition(":")[::2] for part in score.signature.split("|") if part)
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
    """Return the signature without the parts in `FREE`, which may differ between scores that
    compare.
    """
    return "|".join(part for part in signature.split("|") if part.partition(":")[0] not in FREE)


def explain_incomparable(reasons: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Return sentences that say which scores are not ranked against which, and why, in as few lines
    as possible.

    Args:
        reasons: reason by metric and two systems.
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
    """Return names as an English list: "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
