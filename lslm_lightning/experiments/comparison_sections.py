"""Tables and report sections that only comparisons of finished runs have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import nan
from statistics import fmean, stdev

from lslm_lightning.contracts import Metric, metric_label
from lslm_lightning.evaluation.comparison import SIGNIFICANT, Pair
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.evaluation.results import Results
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.evaluation.seeds import SeedComparison, compare_seeds
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
from lslm_lightning.reports.conclusion import Conclusion
from lslm_lightning.reports.evaluation import leading
from lslm_lightning.reports.scores import ScoreTable

RecipeTests = Mapping[tuple[str, str], SeedComparison]  # by the names of both recipes

OVER_SEEDS = "These scores are means over seeds, and the test accounts for the seeds as well."


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


def recipes_of(runs: Sequence[Finished], results: Results) -> dict[str, list[Scores]]:
    """Return the scores of all seeds of each recipe that was trained with several.

    Args:
        runs: finished runs; those of a recipe differ only in their seed.
        results: results of the comparison.
    """
    groups: dict[str, list[Scores]] = {}
    for run in runs:
        if (own := results.scores[run.name]) is not None:
            groups.setdefault(run.group, []).append(own)
    return {group: scores for group, scores in groups.items() if len(scores) > 1}


def compare_recipes(
    recipes: Mapping[str, Sequence[Scores]], metric: Metric, n_resample: int
) -> RecipeTests:
    """Return Welch's t test of each two recipes.

    Args:
        recipes: scores of the seeds of each recipe, from `recipes_of`.
        metric: metric that is tested.
        n_resample: number of resamples for the deviation that comes from the test examples.
    """
    rows = {name: [own.rows[metric.name] for own in seeds] for name, seeds in recipes.items()}
    return {
        (first, second): compare_seeds(metric, rows[first], rows[second], n_resample)
        for first, second in combinations(rows, 2)
    }


def recipes_lead(
    recipes: Mapping[str, Sequence[Scores]], metric: Metric, tests: RecipeTests
) -> Conclusion:
    """Return a sentence on the recipe with the best mean score, and whether its lead over the
    second is significant.

    Args:
        recipes: scores of the seeds of each recipe, from `recipes_of`.
        metric: metric to rank by.
        tests: tests of the recipes by this metric, from `compare_recipes`.
    """
    means: dict[str, Scores | None] = {}
    for name, seeds in recipes.items():
        values = [own[metric.name].value for own in seeds]
        score = replace(seeds[0][metric.name], value=fmean(values), low=None, high=None)
        means[name] = Scores([score], [], {})
    pairs = [
        Pair(*names, metric.name, test.difference, test.low, test.high, test.p, test.p, test.p, nan)
        for names, test in tests.items()
    ]
    found = leading(Results(metric.name, {}, means, pairs, [], [], []), [metric])
    return replace(found, details=(*found.details, OVER_SEEDS))


def seeds_section(
    recipes: Mapping[str, Sequence[Scores]], metric: Metric, tests: RecipeTests
) -> Section | None:
    """Build the report section "Over seeds" with the mean and the standard deviation of each
    recipe, and the tests between recipes; None without recipes.

    Args:
        recipes: scores of the seeds of each recipe, from `recipes_of`.
        metric: metric that is shown.
        tests: tests of the recipes by this metric, from `compare_recipes`.
    """
    if not recipes:
        return None
    values = {name: [own[metric.name].value for own in seeds] for name, seeds in recipes.items()}
    rows: list[list[Cell]] = [[name, len(v), fmean(v), stdev(v)] for name, v in values.items()]
    blocks: list[object] = [
        Table(["recipe", "seeds", Heading(f"mean {metric_label(metric.name)}"), "deviation"], rows)
    ]
    if tests:
        blocks.append(recipe_table(metric, tests))
    return Section("Over seeds", blocks)


def recipe_table(metric: Metric, tests: RecipeTests) -> Table:
    """Build a table of tests between recipes.

    Args:
        metric: metric that was tested.
        tests: tests of the recipes, from `compare_recipes`.
    """
    rows: list[list[Cell]] = [
        [
            f"{first} − {second}",
            Measure(test.difference, interval_of(test.low, test.high), best=test.p < SIGNIFICANT),
            test.p,
            test.test_deviation,
            test.training_deviation,
        ]
        for (first, second), test in tests.items()
    ]
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
