"""From ids to vectors. B batch, T time, D d_model, V vocabulary."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """One vector a token, times `scale`.

    Vectors start with variance 1 / d_model, so that a tied projection of normalized outputs starts with logits of variance 1.

    Args:
        scale: sqrt(d_model) gives inputs of variance 1, as in Vaswani et al. 2017, section 3.4; None leaves the vectors as they are.
    """

    def __init__(self, vocab_size: int, d_model: int, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, D)."""
        x = F.embedding(ids, self.weight)
        return x if self.scale is None else x * self.scale
