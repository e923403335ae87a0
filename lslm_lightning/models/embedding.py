"""From ids to vectors. B batch, T time, D d_model, V vocabulary."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """One vector a token, times `scale`.

    Vectors start with variance 1 / d_model, so that a tied projection of normalized outputs starts
    with logits of variance 1.

    Args:
        scale: sqrt(d_model) gives inputs of variance 1, as in Vaswani et al. 2017, section 3.4;
            None leaves the vectors as they are.
    """

    def __init__(self, vocab_size: int, d_model: int, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, D)."""
        x = F.embedding(ids, self.weight)
        return x if self.scale is None else x * self.scale


class Marked(nn.Module):
    """Inputs plus one vector for each of a few marks that each of them bears. Source: the segments
    of Devlin et al. 2019, section 3.

    All marks together start with variance 1, as inputs have it.

    Args:
        sizes: how many values each mark has.
    """

    def __init__(self, sizes: Sequence[int], d_model: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(size, d_model) * len(sizes) ** -0.5 for size in sizes
        )

    def forward(self, x: Tensor, *marks: Tensor) -> Tensor:
        """(B, T, D) and, for each mark, (B, T) integers below its size -> (B, T, D)."""
        for weight, mark in zip(self.weights, marks, strict=True):
            x = x + F.embedding(mark, weight)
        return x
