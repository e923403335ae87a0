"""Changes of the tempo of recordings, applied to features. B batch, T frames, F features."""

import torch
from torch import Tensor


def retimed(x: Tensor, lengths: Tensor, wanted: Tensor) -> Tensor:
    """Resample features in time by linear interpolation, which keeps the pitch: (B, max(wanted),
    F).

    Frames after the end of a recording are 0.

    Args:
        x: features (B, T, F).
        lengths: (B,) number of frames of each recording.
        wanted: (B,) number of frames after resampling.
    """
    frame = torch.arange(int(wanted.max()), device=x.device)[None]  # (1, T')
    # (B, T'), middles of frames lie on middles
    at = (frame + 0.5) * (lengths / wanted)[:, None] - 0.5
    at = at.clamp(min=0).minimum((lengths - 1)[:, None].to(at.dtype))
    low = at.long()
    high = (low + 1).minimum((lengths - 1)[:, None])
    before, after = (
        x.gather(1, index[..., None].expand(-1, -1, x.size(2))) for index in (low, high)
    )
    y = torch.lerp(before, after, (at - low)[..., None].to(x.dtype))
    return y.masked_fill((frame >= wanted[:, None])[..., None], 0.0)
