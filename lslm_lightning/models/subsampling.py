"""Reduction of audio frames to fewer and larger vectors.

Axes: B batch, T frames, T' vectors, F features, C channels, D d_model.
"""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.linear import PaddedLinear

Count = TypeVar("Count", int, Tensor)
STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}


class FrameReduction(nn.Module, ABC):
    """Base class of modules that reduce audio frames to encoder inputs. Every output vector stands
    for `stride` frames.

    A source of n frames gives `out_length(n)` vectors. They are normalized to variance 1, like
    token embeddings.

    Args:
        n_feature: number of features of a frame; given by the task.
        d_model: size of the vectors between layers; given by the task.
    """

    stride: int

    def out_length(self, n: Count) -> Count:
        """Return the number of vectors for n frames: n / stride, rounded up."""
        return (n + self.stride - 1) // self.stride

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (B, T', D) for frames x (B, T, F), and the number of vectors (B,) of each
        source. Vectors beyond that number are undefined.

        Args:
            lengths: (B,) number of frames of each source.
        """


class Subsampling(FrameReduction):
    """Two 3 x 3 convolutions over time and features with ReLU, and a linear map. For features whose
    neighbours are similar, such as spectrograms; for others use `Stacking`.

    The number of features is reduced to a fourth for every stride.

    Source: ESPnet (Watanabe et al. 2018) and Conformer (Gulati et al. 2020), but padded with zeros
    on all sides, so that short sources keep at least one vector.

    Args:
        stride: frames per output vector: 1, 2 or 4.
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
        self.output = PaddedLinear(n_channel * -(-n_feature // 4), d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y = x[:, None]  # (B, 1, T, F)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            y = convolution(y * frame_mask(y.size(2), lengths, y)[:, None]).relu()
            lengths = (lengths + stride - 1) // stride
        return self.norm(self.output(y.transpose(1, 2).flatten(2))), lengths


class Stacking(FrameReduction):
    """Concatenation of `stride` consecutive frames, and a linear map. For features without an
    order, such as cepstra and their deltas.

    The last vector of a source may stand for fewer frames, filled up with zeros. Source: Sak et al.
    2015, "Fast and accurate recurrent neural network acoustic models for speech recognition".

    Args:
        stride: frames per output vector, at least 1.
    """

    def __init__(self, n_feature: int, d_model: int, stride: int = 4) -> None:
        super().__init__()
        if stride < 1 or n_feature < 1:
            raise ValueError(f"stride={stride} and n_feature={n_feature} must be at least 1")
        self.stride = stride
        self.output = PaddedLinear(stride * n_feature, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(x * frame_mask(x.size(1), lengths, x), (0, 0, 0, -x.size(1) % self.stride))
        frames = torch.unflatten(x, 1, (-1, self.stride)).flatten(2)  # (B, T', stride * F)
        return self.norm(self.output(frames)), self.out_length(lengths)


def frame_mask(size: int, lengths: Tensor, like: Tensor) -> Tensor:
    """Return a mask (B, size, 1) that is 1 for real frames and 0 for padding.

    Args:
        size: number of frames, padding included.
        lengths: (B,) number of real frames of each source.
        like: tensor whose dtype and device the mask has.
    """
    return (torch.arange(size, device=like.device) < lengths.to(like.device)[:, None])[
        ..., None
    ].to(like)
