"""Metrics on texts that belong to no evaluation set."""

from collections.abc import Sequence

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction


def statistics_of(metric: Metric, prediction: Prediction, references: Sequence[str]) -> np.ndarray:
    """Return the statistics (D,) of a prediction, given references alone."""
    return metric.statistics(Example(prediction.id, "", tuple(references)), prediction)
