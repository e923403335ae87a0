"""Features of frames: reader of feature files, time derivatives and normalization. T frames, F
features.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def read_frames(data: bytes, name: str, n_feature: int) -> Tensor:
    """Return the features (T, F) float32 of a file in the format of CMU Sphinx.

    The file holds the number of values as a big-endian int32, then the values as big-endian
    float32.

    Args:
        name: name of the file, for messages.
        n_feature: number of features F of a frame.

    Raises:
        ValueError: the file is empty or truncated, a value is not finite, or the number of values
            is not a multiple of `n_feature`; the message is one line with the name of the file.
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
    """Return the time derivatives (T, F) of features (T, F).

    The derivative at a frame is the slope of the least-squares line through the frame and its
    `width` neighbours on each side. The first and the last frame are repeated at the edges.

    Source: Young et al. 2006, "The HTK Book", section 5.9.
    """
    steps = torch.arange(-width, width + 1).to(frames)
    padded = F.pad(frames.mT[None], (width, width), mode="replicate")[0]  # (F, T + 2 width)
    return (padded.unfold(1, 2 * width + 1, 1) @ steps).mT / steps.square().sum()


def normalized(frames: Tensor) -> Tensor:
    """Return the frames (T, F) of one recording with mean 0 and variance 1 in each feature.

    A constant feature becomes 0.
    """
    centred = frames - frames.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / deviation.clamp_min(1e-5)
