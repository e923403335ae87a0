"""Tables and report sections that only comparisons of finished runs have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean, stdev

from lslm_lightning.contracts import Metric, metric_label
from lslm_lightning.evaluation.comparison import SIGNIFICANT
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.evaluation.results import Results
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.evaluation.seeds import compare_seeds
from lslm_lightning.experiments.evaluation_sets import FoundSet
from lslm_lightning.experiments.finished_runs import Finished
from lslm_lightning.experiments.leaderboard import letters
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Heading,
    Measure,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.scores import ScoreTable


def with_sets(table: Table, runs: Sequence[Finished], tested: Mapping[str, FoundSet]) -> Table:
    """Add a column with the letter of each run's test set to a table of scores, and notes that
    describe the sets.

    The table is returned unchanged if all runs were tested on the same set.

    Args:
        table: scores, one row per run.
        tested: test set of each run, by name.
    """
    sets: dict[str, list[Finished]] = {}
    for run in runs:
        found = tested[run.name].found
        sets.setdefault(found.digest if found else run.name, []).append(run)
    if len(sets) < 2:
        return table
    letter = {run.name: letters(i) for i, members in enumerate(sets.values()) for run in members}
    notes: list[Cell] = []
    for members in sets.values():
        first = members[0]
        found = tested[first.name].found
        corpus = first.data.get("corpus") or "unknown corpus"
        text = (
            f"{corpus} {found.languages}, digest {shown(found.digest)}"
            if found
            else f"{corpus}, {tested[first.name].reason}"
        )
        notes.append(Code(Term(text), f"test set {letter[first.name]}"))
    notes.append("Scores on different test sets do not compare.")
    rows = [[*row, letter[str(row[0])]] for row in table.rows]
    return replace(
        table, columns=[*table.columns, "test set"], rows=rows, notes=[*table.notes, *notes]
    )


def not_comparable(runs: Sequence[Finished], reasons: Mapping[str, str]) -> Section | None:
    """Build the report section "Not comparable" with the runs that paired tests leave out, and the
    reasons; None if there are none.

    Args:
        runs: runs that paired tests leave out.
        reasons: for each of these runs, by name, the reason.
    """
    if not runs:
        return None
    scores = ScoreTable({run.name: run.scores for run in runs}, apart=[run.name for run in runs])
    return Section(
        "Not comparable", [scores, *(Text(f"{run.name}: {reasons[run.name]}.") for run in runs)]
    )


def seeds_section(
    runs: Sequence[Finished], results: Results, metrics: Sequence[Metric], n_resample: int
) -> Section | None:
    """Build the report section "Over seeds" for groups of runs that differ only in their seed.

    The section has the mean and the standard deviation of each group, and Welch's t tests between
    groups.

    Args:
        runs: finished runs.
        results: results of the comparison.
        metrics: metrics that the runs were scored with.
        n_resample: number of resamples for the deviation that comes from the test examples.

    Returns:
        None if no group has more than one run.
    """
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run.name)
    several = {group: names for group, names in groups.items() if len(names) > 1}
    if not several:
        return None
    metric = {m.name: m for m in metrics}[results.headline]
    scores = {
        group: [own for name in names if (own := results.scores[name]) is not None]
        for group, names in several.items()
    }
    values = {group: [own[metric.name].value for own in found] for group, found in scores.items()}
    rows: list[list[Cell]] = [[group, len(v), fmean(v), stdev(v)] for group, v in values.items()]
    blocks: list[object] = [
        Table(["recipe", "seeds", Heading(f"mean {metric_label(metric.name)}"), "deviation"], rows)
    ]
    if len(several) > 1:
        blocks.append(recipe_table(metric, scores, n_resample))
    return Section("Over seeds", blocks)


def recipe_table(metric: Metric, scores: Mapping[str, Sequence[Scores]], n_resample: int) -> Table:
    """Build a table of Welch's t tests between groups of runs.

    Args:
        metric: metric that is tested.
        scores: for each group, the scores of its seeds.
        n_resample: number of resamples for the deviation that comes from the test examples.
    """
    rows: list[list[Cell]] = []
    for first, second in combinations(scores, 2):
        one, two = ([own.rows[metric.name] for own in scores[group]] for group in (first, second))
        found = compare_seeds(metric, one, two, n_resample)
        difference = Measure(
            found.difference, interval_of(found.low, found.high), best=found.p < SIGNIFICANT
        )
        rows.append(
            [
                f"{first} − {second}",
                difference,
                found.p,
                found.test_deviation,
                found.training_deviation,
            ]
        )
    columns = [
        "recipes",
        f"difference in {metric_label(metric.name)}",
        "p",
        "deviation from test examples",
        "deviation from seeds",
    ]
    note = (
        "Welch's t test on the sum of both variances: whether the recipes differ, not only these "
        "runs."
    )
    return Table(columns, rows, "Recipes, over seeds", [note])
