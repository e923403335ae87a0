"""Token and feature embeddings. Axes: B batch, T time, D d_model, V vocabulary."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """Token embedding: one trained vector for each token, multiplied by `scale`.

    Vectors are initialized with variance 1 / d_model, so that a tied head returns logits of
    variance 1 for normalized outputs.

    Args:
        scale: factor of the vectors; None for 1. sqrt(d_model) gives inputs of variance 1, as in
            Vaswani et al. 2017, section 3.4.
    """

    def __init__(self, vocab_size: int, d_model: int, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, T) int64."""
        x = F.embedding(ids, self.weight)
        return x if self.scale is None else x * self.scale


class FeatureEmbedding(nn.Module):
    """Module that adds a trained embedding of each integer feature to the inputs, such as the
    segment ids of BERT.

    The sum of all feature embeddings has variance 1 at first, like the inputs. Source: segment
    embeddings of Devlin et al. 2019, section 3.

    Args:
        sizes: number of values of each feature.
    """

    def __init__(self, sizes: Sequence[int], d_model: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(size, d_model) * len(sizes) ** -0.5 for size in sizes
        )

    def forward(self, x: Tensor, *marks: Tensor) -> Tensor:
        """Return x (B, T, D) plus the embeddings of the features `marks`, each (B, T) integers from
        0 to below its size.
        """
        for weight, mark in zip(self.weights, marks, strict=True):
            x = x + F.embedding(mark, weight)
        return x
