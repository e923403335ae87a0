"""Figures of a state of training that do not depend on the names of its weights."""

from collections.abc import Mapping
from pathlib import Path

import torch

Summary = dict[str, list[list[float]]]


def summarize(path: Path) -> Summary:
    """Return norm and projection of every weight of a checkpoint, by number of elements.

    Weights of equal size stand in ascending order, so other names give the same summary. The
    projection is the product with cos(1), cos(2), ..., which tells two orders of elements apart.
    """
    weights: Mapping[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    found: dict[int, list[tuple[float, float]]] = {}
    for weight in weights.values():
        if weight.is_floating_point():
            flat = weight.double().flatten()
            wave = torch.arange(1, 1 + flat.numel(), dtype=torch.double).cos()
            found.setdefault(flat.numel(), []).append((float(flat.norm()), float(flat @ wave)))
    return {
        str(size): [sorted(norms), sorted(projections)]
        for size, rows in sorted(found.items())
        for norms, projections in [zip(*rows, strict=True)]
    }
