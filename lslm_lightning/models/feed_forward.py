"""What a layer does at each position alone. Every class is built as `feed_forward(d_model,
d_feedforward)`. N rows, T time, D, F these two.

The gated ones have three matrices: with 2/3 of the d_feedforward they are as large as the plain
ones (Shazeer 2020, section 2).
"""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module, ABC):
    """W_2 act(W_1 x): what the plain ones have in common."""

    # see `models.sharding`
    columns = ("inner",)
    rows = ("output",)

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_feedforward, bias=bias)
        self.output = nn.Linear(d_feedforward, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        return self.output(self.activate(self.inner(x)))

    @abstractmethod
    def activate(self, inner: Tensor) -> Tensor:
        """Elementwise, (N, T, F)."""


class ReLU(FeedForward):
    """W_2 max(0, W_1 x). Source: Vaswani et al. 2017, section 3.3."""

    def activate(self, inner: Tensor) -> Tensor:
        return inner.relu()


class GELU(FeedForward):
    """W_2 gelu(W_1 x). Source: Hendrycks and Gimpel 2016; BERT takes it exact, GPT-2 approximated
    by tanh.

    Args:
        approximate: "none" or "tanh".
    """

    def __init__(
        self, d_model: int, d_feedforward: int, bias: bool = True, approximate: str = "none"
    ) -> None:
        super().__init__(d_model, d_feedforward, bias)
        if approximate not in ("none", "tanh"):
            raise ValueError(
                f"feed_forward.approximate={approximate!r} must be one of 'none', 'tanh'"
            )
        self.approximate = approximate

    def activate(self, inner: Tensor) -> Tensor:
        return F.gelu(inner, approximate=self.approximate)


class GatedFeedForward(nn.Module, ABC):
    """W_2 (act(W_g x) * W_1 x): what the gated ones have in common."""

    columns = ("gate", "inner")
    rows = ("output",)

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_feedforward, bias=bias)
        self.inner = nn.Linear(d_model, d_feedforward, bias=bias)
        self.output = nn.Linear(d_feedforward, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        return self.output(self.activate(self.gate(x)) * self.inner(x))

    @abstractmethod
    def activate(self, gate: Tensor) -> Tensor:
        """Elementwise, (N, T, F)."""


class SwiGLU(GatedFeedForward):
    """W_2 (silu(W_g x) * W_1 x). Source: Shazeer 2020, "GLU Variants Improve Transformer", equation
    6; as in Llama.
    """

    def activate(self, gate: Tensor) -> Tensor:
        return F.silu(gate)


class GEGLU(GatedFeedForward):
    """W_2 (gelu(W_g x) * W_1 x). Source: Shazeer 2020, "GLU Variants Improve Transformer", equation
    6.
    """

    def activate(self, gate: Tensor) -> Tensor:
        return F.gelu(gate)


class ChainedReLU(nn.Module):
    """ReLU(linear_1(x)) * linear_2(linear_1(x)), elementwise: the gate's partner is computed from
    the hidden layer, not from the input.

    A projection back follows only where d_feedforward is not d_model. Source: this project's own
    formula.
    """

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = True) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(d_model, d_feedforward, bias=bias)
        self.linear_2 = nn.Linear(d_feedforward, d_feedforward, bias=bias)
        self.output = (
            nn.Linear(d_feedforward, d_model, bias=bias)
            if d_feedforward != d_model
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        hidden = self.linear_1(x)  # (N, T, F)
        return self.output(hidden.relu() * self.linear_2(hidden))
