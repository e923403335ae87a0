"""Masking of features in training (SpecAugment). B batch, T frames, F features."""

import torch
from torch import Tensor, nn


class SpecAugment(nn.Module):
    """Layer that sets random frequency bands and time intervals to 0 during training.

    Random numbers come from torch's default generator. Masks end before the end of each recording.
    Time warping is not implemented.

    Source: Park et al. 2019, "SpecAugment", section 2, for features with mean 0.

    Args:
        n_frequency_mask: number of frequency bands masked per recording.
        frequency_width: maximum width of a band in features; widths are uniform from 0 to this.
            The default is the paper's, for 80 features; set a third of the number of features or
            less. Wider masks keep a small model from learning.
        n_time_mask: number of time intervals masked per recording.
        time_width: maximum length of an interval in frames; lengths are uniform from 0.
        time_share: maximum fraction of a recording that one interval covers.
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
        """Return the features (B, T, F), masked in training mode.

        Args:
            x: features (B, T, F).
            lengths: (B,) number of frames of each recording.
        """
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
    """Return a (B, size) bool mask that is True in `n` random intervals of each row.

    Args:
        lengths: (B,) number of positions of each row in which intervals may lie.
        widest: (B,) maximum length of an interval; lengths are uniform from 0 to this.
    """
    width = (torch.rand(len(lengths), n, device=lengths.device) * (widest[:, None] + 1)).long()
    start = (
        torch.rand(len(lengths), n, device=lengths.device) * (lengths[:, None] - width + 1)
    ).long()
    position = torch.arange(size, device=lengths.device)
    return ((position >= start[..., None]) & (position < (start + width)[..., None])).any(1)
