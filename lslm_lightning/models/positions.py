"""Positional encodings.

Axes: N rows, T time (queries), S time (keys), D d_model, H heads, K d_k. A positional encoding acts
in one of three ways: it changes the inputs of a stack (`embed`), rotates queries and keys
(`rotation`), or adds to the attention scores (`score_bias`). `positions` are int64: (T,) if all
rows are alike, otherwise (N, T). Angles and distances are computed in float32 when they are needed.
Buffers would be rounded by `model.bfloat16()`, whose 8 bits cannot tell position 1000 from 1001.
"""

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

Rotation: TypeAlias = tuple[Tensor, Tensor]


class Position(nn.Module):
    """Base class of positional encodings, called with (d_model, n_head, d_k). Encoder and decoder
    have one each.

    Args:
        d_model: size of the vectors between layers; given by the network.
        n_head: number of attention heads; given by the network.
        d_k: size of the queries and keys of a head; given by the network.
    """

    max_length: int | None = None  # number of positions, if limited
    is_causal = False  # in a decoder, where the network sets it: queries see no later keys

    def __init__(self, d_model: int, n_head: int, d_k: int) -> None:
        super().__init__()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return the inputs x (N, T, D) with their positions encoded; unchanged by default."""
        return x

    def rotation(self, positions: Tensor) -> Rotation | None:
        """Return the cosines and sines for `rotate`, each (..., T, 1, K) float32; None for no
        rotation.
        """
        return None

    def score_bias(self, positions: Tensor, n_key: int) -> Tensor | None:
        """Return the bias (1 or N, H, T, S), float32, added to the attention scores of queries at
        `positions` and keys at positions 0 to n_key - 1; None for no bias.
        """
        return None


class NoPositionalEncoding(Position):
    """No positional encoding: a causal decoder can infer positions from its mask.

    Source: Kazemnejad et al. 2023, "The Impact of Positional Encoding on Length Generalization in
    Transformers".
    """


class Sinusoidal(Position):
    """Sinusoidal positional encoding, added to the inputs: first the sines, then the cosines, of
    geometrically spaced wavelengths.

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
    """Learned positional encoding, added to the inputs: one trained vector for each position.

    Source: Gehring et al. 2017, section 3.1; Radford et al. 2019 (GPT-2).

    Args:
        max_length: number of positions that have a vector; longer inputs are an error.
    """

    def __init__(self, d_model: int, n_head: int, d_k: int, max_length: int = 1024) -> None:
        super().__init__(d_model, n_head, d_k)
        self.max_length = max_length
        self.weight = nn.Parameter(torch.randn(self.max_length, d_model) * 0.02)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.weight[positions]  # (N, T, D)


class Rotary(Position):
    """Rotary positional encoding: feature pairs (i, i + K/2) of queries and keys are rotated by an
    angle proportional to the position, so attention scores depend on distances only.

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
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            # an operator, lest the compiler computes all cosines again wherever they are used
            cos, sin = _compiled_rotation(positions, self.d_k, self.base)
            return cos, sin
        return rotation_of(positions, self.d_k, self.base)


class ALiBi(Position):
    """Attention with linear biases: scores are lowered in proportion to the distance, most steeply
    in the first heads. In an encoder, this applies in both directions.

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


class RelativeBuckets(Position):
    """Learned bias of attention scores for each head and distance. Small distances have a value
    each, larger ones share one with others near them, and all from `max_distance` share one.

    In an encoder, half of the buckets are for keys after the query. Source: Raffel et al. 2020,
    "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (T5),
    section 2.1. T5 does not divide scores by sqrt(d_k), and attention here does.

    Args:
        n_bucket: number of values of a head.
        max_distance: distance from which on all keys are in one bucket.
    """

    def __init__(
        self, d_model: int, n_head: int, d_k: int, n_bucket: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__(d_model, n_head, d_k)
        if n_bucket < 4 or n_bucket % 2:
            raise ValueError(
                f"position.n_bucket={n_bucket} must be even and at least 4; 32 is usual"
            )
        if max_distance <= n_bucket // 2:
            raise ValueError(
                f"position.max_distance={max_distance} must be above n_bucket / 2 = "
                f"{n_bucket // 2}, since so many distances have a bucket each; take "
                f"{4 * n_bucket}"
            )
        self.n_bucket = n_bucket
        self.max_distance = max_distance
        self.weight = nn.Parameter(torch.randn(n_bucket, n_head) * d_model**-0.5)

    def score_bias(self, positions: Tensor, n_key: int) -> Tensor:
        offset = torch.arange(n_key, device=positions.device) - positions[..., None]  # (..., T, S)
        bias = self.weight[self.buckets(offset)].movedim(-1, -3)  # (..., H, T, S)
        bias = bias.to(torch.promote_types(bias.dtype, torch.float32))
        return bias if bias.dim() == 4 else bias[None]

    def buckets(self, offset: Tensor) -> Tensor:
        """Return the bucket of each offset, the position of a key minus that of a query: int64 of
        the same shape.
        """
        n = self.n_bucket if self.is_causal else self.n_bucket // 2
        distance = (-offset).clamp(min=0) if self.is_causal else offset.abs()
        n_exact = n // 2
        # from n_exact on, bounds are spaced geometrically up to max_distance
        ratio = (distance.clamp(min=n_exact).float() / n_exact).log() / math.log(
            self.max_distance / n_exact
        )
        shared = (n_exact + (ratio * (n - n_exact)).long()).clamp(max=n - 1)
        bucket = torch.where(distance < n_exact, distance, shared)
        return bucket if self.is_causal else bucket + n * (offset > 0)


def angles(positions: Tensor, width: int, base: float) -> Tensor:
    """Return the angles position * base^(-2 i / width) for i from 0 to below width / 2, as float32:
    (..., T) -> (..., T, width / 2).
    """
    frequency = base ** (
        -torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    )
    return positions[..., None] * frequency


def rotation_of(positions: Tensor, d_k: int, base: float) -> Rotation:
    """Return the cosines and sines by which `Rotary` rotates vectors at `positions`."""
    angle = angles(positions, d_k, base).unsqueeze(-2)  # (..., T, 1, K / 2)
    cos = angle.cos()
    sin = angle.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


@torch.library.custom_op("lslm_lightning::rotation", mutates_args=())
def _compiled_rotation(positions: Tensor, d_k: int, base: float) -> tuple[Tensor, Tensor]:
    """Return what `rotation_of` returns; an operator of torch for compiled graphs."""
    return rotation_of(positions, d_k, base)


@_compiled_rotation.register_fake
def _fake_rotation(positions: Tensor, d_k: int, base: float) -> tuple[Tensor, Tensor]:
    """Return tensors of the shapes and types that `_compiled_rotation` returns."""
    cos = positions.new_empty((*positions.shape, 1, d_k), dtype=torch.float32)
    return cos, torch.empty_like(cos)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Return x (N, T, H, K), rotated by the cosines and sines that `Position.rotation` returns."""
    cos, sin = rotation
    # halves put together anew, not `roll`, which a compiler turns into a loop over single elements
    first, second = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat([second, first], -1) * sin.to(x.dtype)
