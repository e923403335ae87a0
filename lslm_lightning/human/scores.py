"""Scores of a human evaluation: of systems, with intervals that account for annotators and items,
of annotators, and their agreement.

Array shapes: N items, A annotators, R resamples.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lslm_lightning.human.agreement import Scale, krippendorff_alpha
from lslm_lightning.human.design import Method
from lslm_lightning.human.key import EvaluationKey
from lslm_lightning.human.sheets import Rating
from lslm_lightning.metrics.significance import SEED

N_RESAMPLE = 2000


@dataclass(frozen=True, slots=True)
class RatedOutput:
    """Value that an annotator gave to the output of a system for an item.

    Attributes:
        value: score (0 to 100), penalty, or share of pairs won (0 to 100).
        standard: the same with the mean and spread of all annotators in place of his or her own;
            equal to `value` for penalties and pairs.
    """

    annotator: str
    item: int
    system: str
    value: float
    standard: float


@dataclass(frozen=True, slots=True)
class SystemScore:
    """Human score of a system.

    Attributes:
        mean: mean of the values that annotators gave.
        standard: mean of the standardized values.
        low: lower bound of the 95 % interval of `standard`.
        high: upper bound of the 95 % interval of `standard`.
        n: number of values.
    """

    mean: float
    standard: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class AnnotatorQuality:
    """Controls of one annotator.

    Attributes:
        n: number of rows answered, without repeats and checks.
        mean: mean value.
        deviation: standard deviation of the values.
        repeated: number of repeated rows.
        difference: mean absolute difference of repeated answers; for pairs the share that changed.
        checked: number of checks.
        noticed: number of checks whose damaged output was rated worse.
    """

    n: int
    mean: float
    deviation: float
    repeated: int
    difference: float
    checked: int
    noticed: int


def rated_outputs(ratings: Sequence[Rating], key: EvaluationKey) -> list[RatedOutput]:
    """Return the values of outputs from the answers to rows; repeats and checks are left out.

    An output's value in pairs is the share of its comparisons that it won (0 to 100), where ties
    count half. Equal outputs, which no sheet shows, are ties of each annotator who answered.
    """
    first = [rating for rating in ratings if rating.row.kind == "rating"]
    if key.method != "pairwise":
        return _standardized(first, key.method)
    won: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    names = dict.fromkeys(rating.row.annotator for rating in first)
    ties = [Rating(row, 0.5) for name in names for row in key.rows[name] if row.kind == "tie"]
    for rating in [*first, *ties]:
        left, right = rating.row.systems
        won[rating.row.annotator, rating.row.item, left].append(100 * rating.value)
        won[rating.row.annotator, rating.row.item, right].append(100 - 100 * rating.value)
    found = []
    for (annotator, item, system), values in won.items():
        value = float(np.mean(values))
        found.append(RatedOutput(annotator, item, system, value, value))
    return found


def _standardized(ratings: Sequence[Rating], method: Method) -> list[RatedOutput]:
    """Return the values of ratings, standardized by annotator for scores (Graham et al. 2013): each
    annotator's mean and standard deviation are made those of all.
    """
    by_annotator: dict[str, list[float]] = defaultdict(list)
    for rating in ratings:
        by_annotator[rating.row.annotator].append(rating.value)
    every = [value for values in by_annotator.values() for value in values]
    if not every:
        return []
    mean, spread = float(np.mean(every)), float(np.std(every))
    found = []
    for rating in ratings:
        row = rating.row
        standard = rating.value
        own = by_annotator[row.annotator]
        if method == "direct" and np.std(own) > 0:
            standard = mean + spread * (rating.value - float(np.mean(own))) / float(np.std(own))
        elif method == "direct":
            standard = mean
        found.append(RatedOutput(row.annotator, row.item, row.systems[0], rating.value, standard))
    return found


def system_scores(
    rated: Sequence[RatedOutput], systems: Sequence[str], n_resample: int = N_RESAMPLE
) -> dict[str, SystemScore]:
    """Return the score of each system with its 95 % interval.

    The bootstrap draws items and annotators independently (Owen 2007, "The pigeonhole bootstrap"),
    so that the interval is about other items and other annotators; with a single annotator it is
    about other items alone.
    """
    drawn = _drawn_means(rated, systems, n_resample)
    found = {}
    for system in systems:
        own = [each for each in rated if each.system == system]
        if not own:
            found[system] = SystemScore(math.nan, math.nan, math.nan, math.nan, 0)
            continue
        low, high = np.nanquantile(drawn[system], [0.025, 0.975])
        found[system] = SystemScore(
            float(np.mean([each.value for each in own])),
            float(np.mean([each.standard for each in own])),
            float(low),
            float(high),
            len(own),
        )
    return found


def difference_intervals(
    rated: Sequence[RatedOutput],
    pairs: Sequence[tuple[str, str]],
    n_resample: int = N_RESAMPLE,
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the 95 % interval of the difference between two systems, first minus second, over
    items and annotators.
    """
    systems = list(dict.fromkeys(name for pair in pairs for name in pair))
    drawn = _drawn_means(rated, systems, n_resample)
    found = {}
    for first, second in pairs:
        low, high = np.nanquantile(drawn[first] - drawn[second], [0.025, 0.975])
        found[first, second] = float(low), float(high)
    return found


def _drawn_means(
    rated: Sequence[RatedOutput], systems: Sequence[str], n_resample: int
) -> dict[str, np.ndarray]:
    """Return the means (R,) of each system over bootstrap samples of items and annotators."""
    items = {item: i for i, item in enumerate(sorted({each.item for each in rated}))}
    names = {name: i for i, name in enumerate(sorted({each.annotator for each in rated}))}
    rng = np.random.default_rng(SEED)
    # (R, N) and (R, A): how often each is drawn
    of_items = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), n_resample)
    of_names = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), n_resample)
    found = {}
    for system in systems:
        total, count = np.zeros((2, len(items), len(names)))
        for each in rated:
            if each.system == system:
                total[items[each.item], names[each.annotator]] += each.standard
                count[items[each.item], names[each.annotator]] += 1
        sums = np.einsum("rn,na,ra->r", of_items, total, of_names, optimize=True)
        counts = np.einsum("rn,na,ra->r", of_items, count, of_names, optimize=True)
        # none where no drawn annotator rated a drawn item
        found[system] = np.divide(sums, counts, out=np.full(n_resample, np.nan), where=counts > 0)
    return found


def item_rows(rated: Sequence[RatedOutput], system: str, n_item: int) -> np.ndarray:
    """Return the statistics (N, 2) of a system for paired tests over items: sum and number of its
    standardized values for each item.
    """
    rows = np.zeros((n_item, 2))
    for each in rated:
        if each.system == system:
            rows[each.item] += (each.standard, 1.0)
    return rows


def annotator_quality(ratings: Sequence[Rating], method: Method) -> dict[str, AnnotatorQuality]:
    """Return the controls of each annotator: consistency on repeats, and checks that were
    noticed.
    """
    by_id = {rating.row.id: rating for rating in ratings}
    found = {}
    for name in dict.fromkeys(rating.row.annotator for rating in ratings):
        own = [rating for rating in ratings if rating.row.annotator == name]
        values = [rating.value for rating in own if rating.row.kind == "rating"]
        differences = []
        noticed = []
        for rating in own:
            if (before := by_id.get(rating.row.of)) is None:
                continue
            if rating.row.kind == "repeat":
                again = 1 - rating.value if method == "pairwise" else rating.value
                change = abs(again - before.value)
                differences.append(float(change > 0) if method == "pairwise" else change)
            else:
                noticed.append(is_noticed(rating, before, method))
        found[name] = AnnotatorQuality(
            len(values),
            float(np.mean(values)) if values else math.nan,
            float(np.std(values)) if values else math.nan,
            len(differences),
            float(np.mean(differences)) if differences else math.nan,
            len(noticed),
            sum(noticed),
        )
    return found


def is_noticed(check: Rating, before: Rating, method: Method) -> bool:
    """Return whether a damaged output was rated worse than the output itself.

    Args:
        check: answer to the row with the damaged output.
        before: answer to the row that it was made of.
    """
    if method == "pairwise":
        return check.value == (1.0 if check.row.better == "A" else 0.0)
    if method == "mqm":
        return check.value > before.value
    return check.value < before.value


def agreement_of(ratings: Sequence[Rating], method: Method) -> dict[str, float]:
    """Return Krippendorff's alpha between annotators, by data and scale; nan where no row was
    answered by two.
    """
    first = [rating for rating in ratings if rating.row.kind == "rating"]
    given = [rating.value for rating in first]
    worst = [float(rating.worst) for rating in first]
    data: dict[str, tuple[Scale, list[float]]]
    if method == "direct":
        standard = [each.standard for each in _standardized(first, method)]
        data = {
            "scores, interval": ("interval", given),
            "scores, ordinal": ("ordinal", given),
            "standardized scores, interval": ("interval", standard),
        }
    elif method == "mqm":
        data = {
            "penalties, interval": ("interval", given),
            "worst error, ordinal": ("ordinal", worst),
            "any error, nominal": ("nominal", [float(value > 0) for value in worst]),
        }
    else:
        sides = [value if is_sorted(rating) else 1 - value for rating, value in zip(first, given)]
        data = {"which is better, nominal": ("nominal", sides)}
    return {
        name: krippendorff_alpha(_matrix(first, values), scale)
        for name, (scale, values) in data.items()
    }


def is_sorted(rating: Rating) -> bool:
    """Return whether the systems of a pair stand in the order of their names."""
    return rating.row.systems == tuple(sorted(rating.row.systems))


def _matrix(ratings: Sequence[Rating], values: Sequence[float]) -> np.ndarray:
    """Return the values (A, units) of annotators for outputs or pairs, nan where there is none.

    Args:
        values: value of each rating.
    """
    names: dict[str, int] = {}
    units: dict[tuple[int, tuple[str, ...]], int] = {}
    cells = [
        (
            names.setdefault(rating.row.annotator, len(names)),
            units.setdefault((rating.row.item, tuple(sorted(rating.row.systems))), len(units)),
        )
        for rating in ratings
    ]
    found = np.full((len(names), len(units)), np.nan)
    for cell, value in zip(cells, values, strict=True):
        found[cell] = value
    return found
