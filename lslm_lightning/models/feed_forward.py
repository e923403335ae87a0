"""Feed-forward layers, applied to each position separately. Every class is called with (d_model,
d_feedforward).

Axes: N rows, T time, D d_model, F d_feedforward. Gated layers have three matrices. With 2/3 of
d_feedforward they have as many parameters as the other layers (Shazeer 2020, section 2).
"""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.linear import PaddedLinear


class FeedForward(nn.Module, ABC):
    """Base class of feed-forward layers with two matrices: W_2 act(W_1 x).

    Args:
        d_model: size of the vectors between layers; given by the network.
        d_feedforward: inner size of the feed-forward layers; given by the network.
        bias: add a bias to each linear map.
    """

    # layers to split under tensor parallelism, see `models.sharding`
    columns = ("inner",)
    rows = ("output",)

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = True) -> None:
        super().__init__()
        self.inner = PaddedLinear(d_model, d_feedforward, bias=bias)
        self.output = PaddedLinear(d_feedforward, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (N, T, D) for x (N, T, D)."""
        y: Tensor = self.output(self.activate(self.inner(x)))
        return y

    @abstractmethod
    def activate(self, inner: Tensor) -> Tensor:
        """Apply the activation function elementwise to (N, T, F)."""


class ReLU(FeedForward):
    """Feed-forward layer with ReLU: W_2 max(0, W_1 x). Source: Vaswani et al. 2017, section 3.3."""

    def activate(self, inner: Tensor) -> Tensor:
        return inner.relu()


class GELU(FeedForward):
    """Feed-forward layer with GELU: W_2 gelu(W_1 x).

    Source: Hendrycks and Gimpel 2016. BERT computes GELU exactly, GPT-2 by the tanh approximation.

    Args:
        approximate: "none" to compute GELU exactly, or "tanh" for the approximation.
    """

    def __init__(
        self, d_model: int, d_feedforward: int, bias: bool = True, approximate: str = "none"
    ) -> None:
        super().__init__(d_model, d_feedforward, bias)
        check_approximation(approximate)
        self.approximate = approximate

    def activate(self, inner: Tensor) -> Tensor:
        return F.gelu(inner, approximate=self.approximate)


class GatedFeedForward(nn.Module, ABC):
    """Base class of gated feed-forward layers: W_2 (act(W_g x) * W_1 x).

    Args:
        d_model: size of the vectors between layers; given by the network.
        d_feedforward: inner size of the feed-forward layers; given by the network.
        bias: add a bias to each linear map.
    """

    columns = ("gate", "inner")
    rows = ("output",)

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = PaddedLinear(d_model, d_feedforward, bias=bias)
        self.inner = PaddedLinear(d_model, d_feedforward, bias=bias)
        self.output = PaddedLinear(d_feedforward, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (N, T, D) for x (N, T, D)."""
        y: Tensor = self.output(self.activate(self.gate(x)) * self.inner(x))
        return y

    @abstractmethod
    def activate(self, gate: Tensor) -> Tensor:
        """Apply the activation function of the gate elementwise to (N, T, F)."""


class SwiGLU(GatedFeedForward):
    """Gated feed-forward layer with SiLU, as in Llama: W_2 (silu(W_g x) * W_1 x).

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6.
    """

    def activate(self, gate: Tensor) -> Tensor:
        return F.silu(gate)


class GEGLU(GatedFeedForward):
    """Gated feed-forward layer with GELU: W_2 (gelu(W_g x) * W_1 x).

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6. T5 1.1 computes GELU by
    the tanh approximation.

    Args:
        approximate: "none" to compute GELU exactly, or "tanh" for the approximation.
    """

    def __init__(
        self, d_model: int, d_feedforward: int, bias: bool = False, approximate: str = "none"
    ) -> None:
        super().__init__(d_model, d_feedforward, bias)
        check_approximation(approximate)
        self.approximate = approximate

    def activate(self, gate: Tensor) -> Tensor:
        return F.gelu(gate, approximate=self.approximate)


def check_approximation(approximate: str) -> None:
    """Raise ValueError if there is no such way to compute GELU."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"feed_forward.approximate={approximate!r} must be one of 'none', 'tanh'")


class ChainedReLU(nn.Module):
    """Gated layer ReLU(linear_1(x)) * linear_2(linear_1(x)), elementwise. The second factor is
    computed from the hidden layer instead of the input.

    An output projection follows only if d_feedforward differs from d_model. Source: this project.

    Args:
        d_model: size of the vectors between layers; given by the network.
        d_feedforward: inner size of the feed-forward layers; given by the network.
        bias: add a bias to each linear map.
    """

    def __init__(self, d_model: int, d_feedforward: int, bias: bool = True) -> None:
        super().__init__()
        self.linear_1 = PaddedLinear(d_model, d_feedforward, bias=bias)
        self.linear_2 = PaddedLinear(d_feedforward, d_feedforward, bias=bias)
        self.output = (
            PaddedLinear(d_feedforward, d_model, bias=bias)
            if d_feedforward != d_model
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (N, T, D) for x (N, T, D)."""
        hidden = self.linear_1(x)  # (N, T, F)
        y: Tensor = self.output(hidden.relu() * self.linear_2(hidden))
        return y
