"""Features of frames, of files that have them ready. T frames, F features."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def read_frames(data: bytes, name: str, n_feature: int) -> Tensor:
    """(T, F) float32 of a file as Sphinx writes it: a big-endian int32, how many numbers follow,
    then these as big-endian float32.

    Raises:
        ValueError: the file is empty or cut off, or its numbers are no frames of `n_feature` or not
            finite; in one line with its name.
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
    """How features (T, F) rise from frame to frame: the slope of the straight line through each and
    its `width` neighbours on both sides, where the first and the last frame go on for ever.

    Source: Young et al. 2006, "The HTK Book", section 5.9.
    """
    steps = torch.arange(-width, width + 1).to(frames)
    padded = F.pad(frames.mT[None], (width, width), mode="replicate")[0]  # (F, T + 2 width)
    return (padded.unfold(1, 2 * width + 1, 1) @ steps).mT / steps.square().sum()


def normalized(frames: Tensor) -> Tensor:
    """Frames (T, F) of one recording with a mean of 0 and a variance of 1 in each feature; one that
    never changes is 0.
    """
    centred = frames - frames.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / deviation.clamp_min(1e-5)
