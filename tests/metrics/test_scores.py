"""Scores of many sums at once are those of each sum alone."""

import numpy as np
import pytest

from lslm_lightning.contracts import Metric
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter

METRICS = (Bleu(), Chrf(), Chrf(word_order=2), Ter())


def totals_of(metric: Metric, scale: float) -> np.ndarray:
    """Return sums (400, D) of counts from 0 to `scale`, a third of them 0, and the last one nan."""
    rng = np.random.default_rng(round(scale))
    n = metric._n_statistic  # type: ignore[attr-defined]
    totals = rng.integers(0, int(scale) + 1, (400, n)).astype(np.float64)
    totals[rng.random(totals.shape) < 1 / 3] = 0
    totals[0] = 0
    totals[1:50] = np.maximum(totals[1:50], 1)
    totals[-1, n // 2] = np.nan
    return totals


@pytest.mark.parametrize("scale", [1, 3, 100, 1e6])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_all_rows_at_once_score_as_each_alone(metric: Metric, scale: float) -> None:
    totals = totals_of(metric, scale)
    alone = [metric.score(row) for row in totals]
    assert np.isnan(alone[-1])
    assert len(set(alone[:-1])) > 1
    np.testing.assert_allclose(metric.scores(totals), alone, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_row_has_no_score(metric: Metric) -> None:
    assert metric.scores(totals_of(metric, 3)[:0]).shape == (0,)


def test_a_formula_of_ones_own_counts_in_resampling_too() -> None:
    class Half(Bleu):
        def score(self, total: np.ndarray) -> float:
            return super().score(total) / 2

    class Quarter(Half):
        pass

    totals = totals_of(Bleu(), 100)[:50]
    np.testing.assert_allclose(Quarter().scores(totals), Bleu().scores(totals) / 2, rtol=1e-12)
