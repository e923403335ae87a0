"""Forced alignment (CTC): the most likely frames of a known token sequence.

Axes: T frames, V symbols with the blank, N = 2 n + 1 states for n symbols.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor


def frames_needed(ids: Sequence[int]) -> int:
    """Return the smallest number of frames in which CTC can emit `ids`: one for each symbol, and
    one for a blank between equal neighbours.
    """
    return len(ids) + sum(first == second for first, second in pairwise(ids))


def forced_alignment(log_probs: Tensor, ids: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """Return for each symbol of `ids` the frames [start, end) that it takes on the most likely
    path.

    Args:
        log_probs: (T, V) log probabilities, as in `CtcSearch`.
        ids: symbols that the path emits.

    Raises:
        ValueError: no path emits `ids`, because there are too few frames or a symbol has
            probability 0.
    """
    states = np.full(2 * len(ids) + 1, blank)  # symbols at odd states, blanks around them
    states[1::2] = ids
    frames = log_probs.double().cpu().numpy()[:, states]  # (T, N)
    may_skip = np.zeros(len(states), bool)  # True where a path may skip the blank before a symbol
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    previous = np.zeros(frames.shape, np.int64)
    best[0] = 0.0  # before the first frame
    for t, frame in enumerate(frames):
        one = np.roll(best, 1)
        two = np.where(may_skip, np.roll(best, 2), -np.inf)
        one[0] = -np.inf
        arrivals = np.stack([best, one, two])
        previous[t] = arrivals.argmax(0)
        best = arrivals.max(0) + frame
    state = len(states) - 1 - int(len(ids) > 0 and best[-2] > best[-1])
    if best[state] == -np.inf:
        raise ValueError(
            f"no path of {len(frames)} frames emits these {len(ids)} symbols: at least "
            f"{frames_needed(ids)} are needed"
        )
    path = np.zeros(len(frames), np.int64)
    for t in reversed(range(len(frames))):
        path[t] = state
        state -= previous[t, state]
    spans = [np.flatnonzero(path == 2 * i + 1) for i in range(len(ids))]
    return [(int(span[0]), int(span[-1]) + 1) for span in spans]
