"""Krippendorff's alpha: agreement of annotators beyond chance, for nominal, ordinal and interval
data with missing values.

Array shapes: A annotators, U units that were annotated, V distinct values.
"""

from typing import Literal

import numpy as np

Scale = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: np.ndarray, scale: Scale) -> float:
    """Return Krippendorff's alpha: 1 for perfect agreement, 0 for that of chance, negative below.

    nan if no unit was annotated twice, or if all values are the same, where chance agrees too.
    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Args:
        ratings: (A, U) values, of any number that stands for a category, a rank or an amount; nan
            where an annotator did not annotate a unit.
        scale: differences that count: any ("nominal"), by the number of values in between
            ("ordinal"), or by their square ("interval").
    """
    found = ~np.isnan(ratings)
    paired = found.sum(axis=0) > 1
    values = np.unique(ratings[:, paired][found[:, paired]])
    if len(values) < 2:
        return float("nan")
    # (U, V) how many annotators gave each value
    counts = np.stack(
        [(ratings[:, paired] == value).sum(axis=0) for value in values], axis=1
    ).astype(float)
    n_value = counts.sum(axis=1)
    # (V, V) pairs of values within units, each unit with the weight of its annotators
    weight = 1 / (n_value - 1)
    observed = np.einsum("uv,uw,u->vw", counts, counts, weight, optimize=True)
    observed[np.diag_indices(len(values))] -= (counts * weight[:, None]).sum(axis=0)
    total = observed.sum(axis=1)
    expected = (np.outer(total, total) - np.diag(total)) / (total.sum() - 1)
    distance = _distances(values, total, scale)
    return float(1 - (observed * distance).sum() / (expected * distance).sum())


def _distances(values: np.ndarray, total: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the squared differences (V, V) of values.

    Args:
        values: (V,) distinct values, rising.
        total: (V,) number of times that each value was given.
    """
    if scale == "nominal":
        return 1.0 - np.eye(len(values))
    if scale == "interval":
        return np.subtract.outer(values, values) ** 2
    # the sum of the counts from one value to the other, with half of both ends
    middle = np.cumsum(total) - total / 2
    return np.subtract.outer(middle, middle) ** 2
