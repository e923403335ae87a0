"""Fewer, wider frames. B batch, T frames, F features, C channels, D d_model."""

import torch
from torch import Tensor, nn

STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}


class Subsampling(nn.Module):
    """Two convolutions of 3 x 3 over time and features, with ReLU, and a linear map: every vector stands for `stride` frames.

    Features are thinned to a fourth whatever the stride. A source of n frames has `out_length(n)` vectors, never none.

    Source: as in ESPnet (Watanabe et al. 2018) and Conformer (Gulati et al. 2020), but with a frame of zeros around, so that short sources
    keep at least one vector.

    Args:
        stride: 1, 2 or 4.
        n_channel: of the convolutions.
    """

    def __init__(self, n_feature: int, d_model: int, stride: int = 4, n_channel: int = 64) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ValueError(f"stride={stride} must be one of {list(STRIDES)}: frames that become one vector")
        if n_feature < 1 or n_channel < 1:
            raise ValueError(f"n_feature={n_feature} and n_channel={n_channel} must be at least 1")
        self.n_feature, self.stride, self.strides = n_feature, stride, STRIDES[stride]
        first, second = self.strides
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, n_channel, 3, (first, 2), padding=1),
                nn.Conv2d(n_channel, n_channel, 3, (second, 2), padding=1),
            ]
        )
        self.output = nn.Linear(n_channel * -(-n_feature // 4), d_model)

    def out_length(self, n: int | Tensor) -> int | Tensor:
        """Vectors of a source of n frames: n / stride, rounded up."""
        return (n + self.stride - 1) // self.stride

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F), lengths (B,) -> (B, T', D) and their lengths; what stands beyond these means nothing."""
        y = x[:, None]  # (B, 1, T, F)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            real = torch.arange(y.size(2), device=y.device) < lengths.to(y.device)[:, None]  # (B, T)
            y = convolution(y * real[:, None, :, None]).relu()
            lengths = (lengths + stride - 1) // stride
        return self.output(y.transpose(1, 2).flatten(2)), lengths
