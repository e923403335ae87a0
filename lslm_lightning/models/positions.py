"""Where a vector stands in its sequence. T time (queries), S time (keys), D d_model, H heads, K
d_k.

A position scheme acts in one of three places: it changes the inputs of a stack (`embed`), turns
queries and keys (`rotation`), or adds to the attention scores (`score_bias`). `positions` are
int64, (T,) for all rows alike or (N, T). Angles and distances are computed when needed, in float32:
buffers would be rounded by `model.bfloat16()`, whose 8 bits cannot tell position 1000 from 1001.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn

Rotation: TypeAlias = tuple[Tensor, Tensor]


class Position(nn.Module):
    """A scheme for one stack of layers, built as `position(d_model, n_head, d_k)`: nothing is
    shared between encoder and decoder.
    """

    max_length: int | None = None  # how many positions there are, if limited

    def __init__(self, d_model: int, n_head: int, d_k: int) -> None:
        super().__init__()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Inputs (N, T, D) with their positions."""
        return x

    def rotation(self, positions: Tensor) -> Rotation | None:
        """Cosines and sines for `rotate`, each (..., T, 1, K), float32."""
        return None

    def score_bias(self, positions: Tensor, n_key: int) -> Tensor | None:
        """What is added to the scores of queries at `positions` and keys at 0 to n_key - 1: (1 or
        N, H, T, S), float32.
        """
        return None


class NoPosition(Position):
    """None at all: a causal decoder can still count.

    Source: Kazemnejad et al. 2023, "The Impact of Positional Encoding on Length Generalization in
    Transformers".
    """


class Sinusoidal(Position):
    """Sines, then cosines, of geometrically spaced wavelengths, added to the inputs.

    Source: Vaswani et al. 2017, section 3.5, with all sines before all cosines as in their code
    (and in Marian).

    Args:
        base: the longest wavelength is 2 pi * base.
    """

    def __init__(self, d_model: int, n_head: int, d_k: int, base: float = 10_000.0) -> None:
        super().__init__(d_model, n_head, d_k)
        self.base = base
        if d_model % 2:
            raise ValueError(
                f"d_model={d_model} must be even for Sinusoidal positions; take {d_model + 1}, "
                "or Learned"
            )

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        angle = angles(positions, x.size(-1), self.base)  # (..., T, D / 2)
        return x + torch.cat([angle.sin(), angle.cos()], -1).to(x.dtype)


class Learned(Position):
    """One trained vector a position, added to the inputs. Source: Gehring et al. 2017, section 3.1;
    Radford et al. 2019 (GPT-2).

    Args:
        max_length: positions that have a vector; longer inputs are refused.
    """

    def __init__(self, d_model: int, n_head: int, d_k: int, max_length: int = 1024) -> None:
        super().__init__(d_model, n_head, d_k)
        self.max_length = max_length
        self.weight = nn.Parameter(torch.randn(self.max_length, d_model) * 0.02)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.weight[positions]  # (N, T, D)


class Rotary(Position):
    """Pairs of features (i, i + K/2) of queries and keys turned by an angle proportional to the
    position, so scores see distances only.

    Source: Su et al. 2021, "RoFormer", section 3.2, in the half-split layout of GPT-NeoX and Llama.

    Args:
        base: the longest wavelength is 2 pi * base.
    """

    def __init__(self, d_model: int, n_head: int, d_k: int, base: float = 10_000.0) -> None:
        super().__init__(d_model, n_head, d_k)
        self.d_k = d_k
        self.base = base
        if d_k % 2:
            raise ValueError(f"d_k={d_k} must be even for Rotary positions; take {d_k + 1}")

    def rotation(self, positions: Tensor) -> Rotation:
        angle = angles(positions, self.d_k, self.base).unsqueeze(-2)  # (..., T, 1, K / 2)
        cos = angle.cos()
        sin = angle.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


class ALiBi(Position):
    """Scores lowered in proportion to the distance, steeply in the first heads; in an encoder to
    both sides alike.

    Source: Press et al. 2022, "Train Short, Test Long", section 3, slopes 2^(-8 i / H).
    """

    def __init__(self, d_model: int, n_head: int, d_k: int) -> None:
        super().__init__(d_model, n_head, d_k)
        self.n_head = n_head

    def score_bias(self, positions: Tensor, n_key: int) -> Tensor:
        device = positions.device
        # (H,)
        slopes = 2.0 ** (-8.0 / self.n_head * torch.arange(1, self.n_head + 1, device=device))
        distance = (positions[..., None] - torch.arange(n_key, device=device)).abs()  # (..., T, S)
        bias = -slopes[:, None, None] * distance.unsqueeze(-3)  # (..., H, T, S)
        return bias if bias.dim() == 4 else bias[None]


def angles(positions: Tensor, width: int, base: float) -> Tensor:
    """Position times base^(-2 i / width) for i below width / 2: (..., T) -> (..., T, width / 2),
    float32.
    """
    frequency = base ** (
        -torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    )
    return positions[..., None] * frequency


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn x (N, T, H, K) by the rotation of its positions."""
    cos, sin = rotation
    return x * cos.to(x.dtype) + x.roll(x.size(-1) // 2, -1) * sin.to(x.dtype)
