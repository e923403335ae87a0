"""Scores, agreement and tests of a human evaluation, from the sheets that came back."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, pearsonr

from lslm_lightning.contracts import metric_label
from lslm_lightning.evaluation.comparison import Pair, compare_systems
from lslm_lightning.experiments.recorded_systems import (
    RecordedSystems,
    systems_of_evaluation,
    systems_of_runs,
)
from lslm_lightning.files import atomic_write
from lslm_lightning.human.key import EvaluationKey, read_key
from lslm_lightning.human.scores import (
    AnnotatorQuality,
    RatedOutput,
    SystemScore,
    agreement_of,
    annotator_quality,
    difference_intervals,
    item_rows,
    rated_outputs,
    system_scores,
)
from lslm_lightning.human.sheets import read_sheets
from lslm_lightning.metrics.human import FORMAT, HumanRatings, digest_of_output

RATINGS = "ratings.json"
LEAST = 3  # systems for a correlation of their scores


@dataclass(frozen=True, slots=True)
class Correlation:
    """Correlation of an automatic metric with the human scores; positive if both agree.

    Attributes:
        segments: Kendall's tau-b over outputs; nan if it is not defined.
        n_output: number of outputs.
        systems: Pearson's r over systems; nan for fewer than `LEAST`.
    """

    metric: str
    segments: float
    n_output: int
    systems: float


@dataclass(frozen=True)
class HumanScores:
    """Result of a human evaluation.

    Attributes:
        systems: score of each system, by name.
        pairs: comparison of each two systems by a paired test over items, Holm-corrected.
        intervals: 95 % interval of each difference, over items and annotators.
        agreement: Krippendorff's alpha, by what it is computed from.
        quality: controls of each annotator, by name.
        correlations: correlations with automatic metrics; empty if `no_metrics` says why.
        ratings: path of the file for the metric `HumanRatings`.
    """

    key: EvaluationKey
    systems: Mapping[str, SystemScore]
    pairs: Sequence[Pair]
    intervals: Mapping[tuple[str, str], tuple[float, float]]
    agreement: Mapping[str, float]
    quality: Mapping[str, AnnotatorQuality]
    correlations: Sequence[Correlation]
    no_metrics: str
    ratings: Path


def human_scores(
    folder: Path,
    sheets: Sequence[Path],
    incomplete: bool = False,
    leave_out: Sequence[str] = (),
    trust: bool = False,
) -> HumanScores:
    """Compute the scores of a human evaluation and write ratings.json into its folder.

    Args:
        folder: folder that has the key.
        sheets: filled sheets, or folders of such.
        incomplete: accept rows without an answer and sheets that are missing.
        leave_out: names of annotators whose answers are not used.
        trust: allow the configs of the runs to name any class.

    Raises:
        ValueError: sheets have faults, each named with file and line.
    """
    key = read_key(folder)
    if unknown := [name for name in leave_out if name not in key.rows]:
        raise ValueError(f"there is no annotator {unknown[0]!r}: there are {', '.join(key.rows)}")
    paths = [path for given in sheets for path in csv_files(given)]
    ratings = read_sheets(paths, key, incomplete)
    quality = annotator_quality(ratings, key.method)
    ratings = [rating for rating in ratings if rating.row.annotator not in leave_out]
    rated = rated_outputs(ratings, key)
    if not rated:
        raise ValueError("no answers are left; leave fewer annotators out")
    path = write_ratings(folder / RATINGS, key, rated)
    n_item = max(key.example_ids) + 1
    rows = {name: item_rows(rated, name, n_item) for name in key.systems}
    both = np.all([each[:, 1] > 0 for each in rows.values()], axis=0)
    shared = {name: each[both] for name, each in rows.items()}
    pairs = compare_systems(HumanRatings(str(path)), shared) if both.any() else []
    no_metrics = ""
    correlations: list[Correlation] = []
    try:
        correlations = correlate(key, rated, recorded(key, trust))
    except (ValueError, OSError) as error:
        no_metrics = " ".join(str(error).split())
    return HumanScores(
        key,
        system_scores(rated, key.systems),
        pairs,
        difference_intervals(rated, [(pair.first, pair.second) for pair in pairs]),
        agreement_of(ratings, key.method),
        quality,
        correlations,
        no_metrics,
        path,
    )


def csv_files(given: Path) -> list[Path]:
    """Return the CSV files of a folder, or the file itself.

    Raises:
        ValueError: there is none.
    """
    found = sorted(given.glob("*.csv")) if given.is_dir() else [given]
    if not found or not all(path.is_file() for path in found):
        raise ValueError(f"{given} is no filled sheet and no folder of such (*.csv)")
    return found


def write_ratings(path: Path, key: EvaluationKey, rated: Sequence[RatedOutput]) -> Path:
    """Write the ratings of outputs for the metric `HumanRatings`, atomically; return the path."""
    texts = {
        (row.item, system): text
        for own in key.rows.values()
        for row in own
        if row.kind in ("rating", "tie")
        for system, text in zip(row.systems, row.texts, strict=True)
    }
    lines = [
        {
            "example": key.example_ids[each.item],
            "output": digest_of_output(texts[each.item, each.system]),
            "annotator": each.annotator,
            "value": each.value,
            "standard": each.standard,
        }
        for each in rated
    ]
    digest = hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()
    record = {
        "format": FORMAT,
        "method": key.method,
        "task": key.task,
        "test_set": key.digest,
        "digest": digest,
        "ratings": lines,
    }
    atomic_write(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    return path


def recorded(key: EvaluationKey, trust: bool) -> RecordedSystems:
    """Return the systems of a key with their predictions.

    Raises:
        ValueError: they are not on this machine, or their test set is another one now.
    """
    if key.evaluation:
        found = systems_of_evaluation(key.systems, key.evaluation)
    else:
        found = systems_of_runs(key.directories, trust)
    if found.digest != key.digest:
        raise ValueError("the test set is another one than when the sheets were made")
    return found


def correlate(
    key: EvaluationKey, rated: Sequence[RatedOutput], systems: RecordedSystems
) -> list[Correlation]:
    """Return the correlation of each automatic metric with the human scores, over outputs and over
    systems.
    """
    values: dict[tuple[str, int], list[float]] = {}
    for each in rated:
        values.setdefault((each.system, each.item), []).append(each.standard)
    human_sign = -1 if key.method == "mqm" else 1
    found = []
    for metric in systems.metrics:
        if not metric.is_additive:
            continue
        sign = human_sign * (1 if metric.higher_is_better else -1)
        rows = {
            name: metric.rows(systems.examples, systems.entries[name].predictions)
            for name in key.systems
        }
        automatic = [metric.score_alone(rows[name][item]) for name, item in values]
        human = [float(np.mean(own)) for own in values.values()]
        items = {name: [i for system, i in values if system == name] for name in key.systems}
        of_systems = [metric.score(rows[name][items[name]].sum(0)) for name in key.systems]
        means = [
            float(np.mean([h for (system, _), h in zip(values, human) if system == name]))
            for name in key.systems
        ]
        pairs = [(a, h) for a, h in zip(automatic, human, strict=True) if math.isfinite(a)]
        segments = kendalltau(*zip(*pairs)).statistic if len(pairs) > 1 else math.nan
        r = math.nan
        if len(means) >= LEAST and np.ptp(means) > 0 and np.ptp(of_systems) > 0:
            r = float(pearsonr(of_systems, means).statistic)
        found.append(
            Correlation(metric_label(metric.name), sign * float(segments), len(pairs), sign * r)
        )
    return found
