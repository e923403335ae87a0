"""Features of frames: read from files that hold them, slopes, normalization. T frames, F
features.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def read_frames(data: bytes, name: str, n_feature: int) -> Tensor:
    """Return the features (T, F) float32 of a file as Sphinx writes it: the count of numbers as a
    big-endian int32, then the numbers as big-endian float32.

    Raises:
        ValueError: the file is empty or cut off, or its numbers are not finite or no frames of
            `n_feature`; in one line with its name.
    """
    stated = int.from_bytes(data[:4], "big", signed=True)
    if len(data) != 4 + 4 * stated or len(data) < 4:
        raise ValueError(
            f"{name} has {len(data):,} bytes, but must have a count of 4 bytes and as many "
            f"big-endian float32, here {max(0, stated):,}:"
            " it is cut off, or of another format"
        )
    if not stated or stated % n_feature:
        raise ValueError(
            f"{name} holds {stated:,} numbers, which must be frames of n_feature={n_feature}, at "
            "least one"
        )
    values = np.frombuffer(data, ">f4", offset=4).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} holds {int((~np.isfinite(values)).sum()):,} numbers that are not finite: it "
            "is damaged"
        )
    return torch.from_numpy(values).view(-1, n_feature)


def deltas(frames: Tensor, width: int = 2) -> Tensor:
    """Return the slopes over time (T, F) of features (T, F): of the straight line through each
    frame and its `width` neighbours on both sides, with the first and the last frame repeated.

    Source: Young et al. 2006, "The HTK Book", section 5.9.
    """
    steps = torch.arange(-width, width + 1).to(frames)
    padded = F.pad(frames.mT[None], (width, width), mode="replicate")[0]  # (F, T + 2 width)
    return (padded.unfold(1, 2 * width + 1, 1) @ steps).mT / steps.square().sum()


def normalized(frames: Tensor) -> Tensor:
    """Return the frames (T, F) of one recording with mean 0 and variance 1 in each feature; a
    feature that never changes is 0.
    """
    centred = frames - frames.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / deviation.clamp_min(1e-5)
