"""The first sentences about runs with several seeds each are about recipes, not about seeds."""

from collections.abc import Mapping

import numpy as np
import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.experiments.comparison_sections import compare_recipes, recipes_lead
from lslm_lightning.reports.conclusion import Conclusion
from tests.metrics.test_significance import Mean, mean_rows

N = 200


def lead_of(means: Mapping[str, tuple[float, ...]]) -> Conclusion:
    """Return the sentences about recipes whose seeds have about these scores."""
    noise = np.random.default_rng(0)
    metric, recipes = Mean(), {}
    for name, values in means.items():
        rows = [mean_rows(value + noise.normal(0, 0.1, N)) for value in values]
        scores = [Score("mean", metric.score(each.sum(0)), "", True, "", N) for each in rows]
        recipes[name] = [
            Scores([score], [], {metric.name: each})
            for score, each in zip(scores, rows, strict=True)
        ]
    return recipes_lead(recipes, metric, compare_recipes(recipes, metric, 200))


def test_the_recipe_with_the_better_mean_leads():
    found = lead_of({"a": (1.0, 1.1, 1.2), "b": (3.1, 3.0, 2.9), "c": (0.1, 0.2, 0.0)})
    assert found.outcome == "better"
    assert found.summary.startswith('"b" leads with')
    assert found.pairs == {frozenset(("a", "b"))}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_lucky_seed_does_not_make_a_better_recipe(order: str):
    means = {"a": (1.0, 1.1, 3.0), "b": (1.5, 1.6, 1.4)}
    found = lead_of({name: means[name] for name in order})
    assert found.outcome == "unsure"
    assert found.summary.startswith('"a" leads with')
