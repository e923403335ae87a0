"""Multi-head attention with the names of the literature. It can be converted to and from the
attention of a backbone.

Axes: B batch, T query positions, S key positions, H num_heads, K d_k, V d_v.
"""

from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from lslm_lightning.models.attention import Attention, SelfAttention

NAMES = {
    "W_q": "query",
    "W_k": "key",
    "W_v": "value",
    "linear": "output",
}  # names here -> names in a backbone's attention
Kind = TypeVar("Kind", bound=Attention)


class MultiHeadAttention(nn.Module):
    """Multi-head attention: softmax(Q K^T / sqrt(d_k)) V in each head, with heads concatenated and
    projected by `linear`.

    `d_k` and `d_v` need not divide `d_model`. If both are `d_model / num_heads`, the module equals
    `torch.nn.MultiheadAttention`. It computes and keeps all attention weights. The attention of a
    backbone has the same parameters, but uses fused kernels (see `to_attention`).

    Source: Vaswani et al. 2017, section 3.2.

    Args:
        num_heads: number of heads, each with its own projections.
        d_model: size of the inputs and of the output.
        d_k: size of a query and of a key in each head.
        d_v: size of a value in each head.
        dropout: share of the attention weights that are dropped in training.

    Attributes:
        attn: attention weights of the last call, (B, H, T, S), before dropout and without a
            gradient; None before the first call.

    Raises:
        ValueError: a size is below 1, or `dropout` is not from 0 to 1.
    """

    def __init__(
        self,
        num_heads: int,
        d_model: int,
        d_k: int,
        d_v: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"num_heads": num_heads, "d_model": d_model, "d_k": d_k, "d_v": d_v}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.num_heads = num_heads
        self.d_model = d_model
        self.d_k = d_k
        self.d_v = d_v
        self.W_q = nn.Linear(d_model, num_heads * d_k)
        self.W_k = nn.Linear(d_model, num_heads * d_k)
        self.W_v = nn.Linear(d_model, num_heads * d_v)
        self.linear = nn.Linear(num_heads * d_v, d_model)
        self.dropout = nn.Dropout(dropout)
        self.attn: Tensor | None = None

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the attention output (B, T, d_model).

        A query that may attend to no key has weights of 0.

        Args:
            query: (B, T, d_model).
            key: (B, S, d_model).
            value: (B, S, d_model).
            mask: broadcastable to (B, H, T, S); zero or False where attention is forbidden.
        """
        q = self._heads(self.W_q(query), self.d_k)  # (B, H, T, K)
        k = self._heads(self.W_k(key), self.d_k)  # (B, H, S, K)
        v = self._heads(self.W_v(value), self.d_v)  # (B, H, S, V)
        scores = q @ k.mT / self.d_k**0.5  # (B, H, T, S)
        if mask is None:
            weights = scores.softmax(-1)
        else:
            is_forbidden = mask == 0
            scores = scores.masked_fill(is_forbidden, torch.finfo(scores.dtype).min)
            weights = scores.softmax(-1).masked_fill(is_forbidden, 0)
        self.attn = weights.detach()
        mixed = self.dropout(weights) @ v  # (B, H, T, V)
        y: Tensor = self.linear(mixed.transpose(1, 2).flatten(2))
        return y

    def _heads(self, projected: Tensor, width: int) -> Tensor:
        """Split the last axis into heads: (B, T, H * width) -> (B, H, T, width)."""
        return torch.unflatten(projected, -1, (self.num_heads, width)).transpose(1, 2)

    def to_attention(
        self,
        kind: type[Kind] = SelfAttention,  # type: ignore[assignment]  # no default for a TypeVar
    ) -> Kind:
        """Return the attention of a backbone, `SelfAttention` or `CrossAttention`, with a copy of
        the weights.

        Args:
            kind: class to return.
        """
        made = kind(self.d_model, self.num_heads, self.num_heads, self.d_k, self.d_v)
        made.to(self.linear.weight)
        for name, other in NAMES.items():
            getattr(made, other).load_state_dict(getattr(self, name).state_dict())
        return made.train(self.training)

    @classmethod
    def from_attention(cls, attention: Attention, dropout: float = 0.1) -> Self:
        """Return a `MultiHeadAttention` with a copy of the weights of a backbone's attention.

        Keys and values shared by several heads are repeated for each head. A projection without a
        bias gets a bias of 0.
        """
        heads = attention.n_head
        made = cls(heads, attention.output.out_features, attention.d_k, attention.d_v, dropout)
        made.to(attention.output.weight)
        for name, other in NAMES.items():
            source = getattr(attention, other)
            n_repeat = heads // attention.n_kv_head if name in ("W_k", "W_v") else 1
            with torch.no_grad():
                getattr(made, name).weight.copy_(repeated(source.weight, n_repeat, attention))
                bias = torch.zeros_like(source.weight[:, 0]) if source.bias is None else source.bias
                getattr(made, name).bias.copy_(repeated(bias, n_repeat, attention))
        return made.train(attention.training)


def repeated(rows: Tensor, n: int, attention: Attention) -> Tensor:
    """Return the rows of a key or value projection, with the rows of each head repeated `n` times.

    Args:
        rows: weight or bias of the projection.
        attention: attention that the projection belongs to.
    """
    if n == 1:
        return rows
    heads = torch.unflatten(rows, 0, (attention.n_kv_head, -1))
    return heads.repeat_interleave(n, 0).flatten(0, 1)
