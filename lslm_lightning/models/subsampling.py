"""Frame reduction of audio features: fewer, wider frames. Axes: B batch, T frames, F features, C
channels, D d_model.
"""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Count = TypeVar("Count", int, Tensor)
STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}


class FrameReduction(nn.Module, ABC):
    """Base class of modules that reduce audio frames to encoder inputs: every output vector stands
    for `stride` frames.

    A source of n frames has `out_length(n)` vectors, at least one; they are normalized, because
    token embeddings come with variance 1.
    """

    stride: int

    def out_length(self, n: Count) -> Count:
        """Return the number of vectors of a source of n frames: n / stride, rounded up."""
        return (n + self.stride - 1) // self.stride

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce x (B, T, F) with lengths (B,) to vectors (B, T', D) and their lengths; vectors
        beyond the lengths are undefined.
        """


class Subsampling(FrameReduction):
    """Two 3 x 3 convolutions over time and features with ReLU and a linear map, for features whose
    neighbours are alike, such as spectrograms; for others see `Stacking`.

    Features are reduced to a fourth, whatever the stride.

    Source: as in ESPnet (Watanabe et al. 2018) and Conformer (Gulati et al. 2020), but with a frame
    of zeros around, so that short sources keep at least one vector.

    Args:
        stride: 1, 2 or 4.
        n_channel: number of channels of the convolutions.
    """

    def __init__(self, n_feature: int, d_model: int, stride: int = 4, n_channel: int = 64) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ValueError(
                f"stride={stride} must be one of {list(STRIDES)}: frames that become one vector"
            )
        if n_feature < 1 or n_channel < 1:
            raise ValueError(f"n_feature={n_feature} and n_channel={n_channel} must be at least 1")
        self.stride = stride
        self.strides = STRIDES[stride]
        first, second = self.strides
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, n_channel, 3, (first, 2), padding=1),
                nn.Conv2d(n_channel, n_channel, 3, (second, 2), padding=1),
            ]
        )
        self.output = nn.Linear(n_channel * -(-n_feature // 4), d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y = x[:, None]  # (B, 1, T, F)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            y = convolution(y * frame_mask(y.size(2), lengths, y)[:, None]).relu()
            lengths = (lengths + stride - 1) // stride
        return self.norm(self.output(y.transpose(1, 2).flatten(2))), lengths


class Stacking(FrameReduction):
    """Concatenation of `stride` consecutive frames and a linear map, for features in no order, such
    as cepstra and their deltas.

    The last vector of a source may stand for fewer frames, filled up with zeros. Source: Sak et al.
    2015, "Fast and accurate recurrent neural network acoustic models for speech recognition".

    Args:
        stride: at least 1.
    """

    def __init__(self, n_feature: int, d_model: int, stride: int = 4) -> None:
        super().__init__()
        if stride < 1 or n_feature < 1:
            raise ValueError(f"stride={stride} and n_feature={n_feature} must be at least 1")
        self.stride = stride
        self.output = nn.Linear(stride * n_feature, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(x * frame_mask(x.size(1), lengths, x), (0, 0, 0, -x.size(1) % self.stride))
        frames = torch.unflatten(x, 1, (-1, self.stride)).flatten(2)  # (B, T', stride * F)
        return self.norm(self.output(frames)), self.out_length(lengths)


def frame_mask(size: int, lengths: Tensor, like: Tensor) -> Tensor:
    """Return a mask (B, size, 1) with 1 for real frames and 0 for padding, in the dtype and on the
    device of `like`.
    """
    return (torch.arange(size, device=like.device) < lengths.to(like.device)[:, None])[
        ..., None
    ].to(like)
