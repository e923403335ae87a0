"""Masking of training features. B batch, T frames, F features."""

import torch
from torch import Tensor, nn


class SpecAugment(nn.Module):
    """Layer that sets random bands of frequency and intervals of time to 0 while training.

    Random numbers come from torch's default generator; no mask goes beyond the end of a recording.
    Nothing is warped.

    Source: Park et al. 2019, "SpecAugment", section 2, for features whose mean is 0.

    Args:
        n_frequency_mask: number of bands of a recording.
        frequency_width: largest number of features of a band; evenly distributed from 0 on.
        n_time_mask: number of intervals of a recording.
        time_width: largest number of frames of an interval.
        time_share: largest share of the recording that an interval covers.
    """

    def __init__(
        self,
        n_frequency_mask: int = 2,
        frequency_width: int = 27,
        n_time_mask: int = 2,
        time_width: int = 40,
        time_share: float = 0.2,
    ) -> None:
        super().__init__()
        for name, value in {
            "n_frequency_mask": n_frequency_mask,
            "frequency_width": frequency_width,
            "n_time_mask": n_time_mask,
            "time_width": time_width,
        }.items():
            if value < 0:
                raise ValueError(f"{name}={value} must be 0 (none) or above")
        if not 0 <= time_share <= 1:
            raise ValueError(f"time_share={time_share} must be from 0 to 1")
        self.n_frequency_mask = n_frequency_mask
        self.frequency_width = frequency_width
        self.n_time_mask = n_time_mask
        self.time_width = time_width
        self.time_share = time_share

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return features (B, T, F) with masks while training, given the lengths (B,) in frames."""
        if not self.training:
            return x
        n_feature = torch.full_like(lengths, x.size(2))
        longest = (lengths * self.time_share).long().clamp(max=self.time_width)
        bands = masks(
            x.size(2), n_feature, n_feature.clamp(max=self.frequency_width), self.n_frequency_mask
        )
        stretches = masks(x.size(1), lengths, longest, self.n_time_mask)
        return x.masked_fill(bands[:, None, :] | stretches[:, :, None], 0)


def masks(size: int, lengths: Tensor, widest: Tensor, n: int) -> Tensor:
    """Return (B, size) bool, True in `n` random intervals of each row b, each 0 to widest[b]
    positions long and within the first lengths[b].
    """
    width = (torch.rand(len(lengths), n, device=lengths.device) * (widest[:, None] + 1)).long()
    start = (
        torch.rand(len(lengths), n, device=lengths.device) * (lengths[:, None] - width + 1)
    ).long()
    position = torch.arange(size, device=lengths.device)
    return ((position >= start[..., None]) & (position < (start + width)[..., None])).any(1)
