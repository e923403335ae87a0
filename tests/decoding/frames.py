"""Connectionist temporal classification (CTC) by its definition: all paths through a few frames,
and prefixes in a dictionary.
"""

import itertools
import math
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

Sequence = tuple[int, ...]


def random_frames(
    n_source: int, n_frame: int, n_symbol: int, never: tuple[int, ...] = ()
) -> Tensor:
    """Return log p (B, T, V) float64, -inf for the symbols `never`."""
    scores = 2 * torch.randn(n_source, n_frame, n_symbol, dtype=torch.double)
    scores[..., list(never)] = -torch.inf
    return scores.log_softmax(-1)


def spelled(path: Sequence, blank: int) -> Sequence:
    """Return the symbols that a path through the frames emits."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def all_sequences(log_p: Tensor, blank: int) -> dict[Sequence, float]:
    """Return the probability of every sequence that has one under frames (T, V)."""
    found: dict[Sequence, float] = defaultdict(float)
    for path in itertools.product(range(log_p.size(1)), repeat=log_p.size(0)):
        if (p := math.exp(sum(log_p[t, symbol].item() for t, symbol in enumerate(path)))) > 0:
            found[spelled(path, blank)] += p
    return dict(found)


def plain_prefix_beam(log_p: Tensor, blank: int, beam_size: int) -> dict[Sequence, float]:
    """Return log p of the best prefixes, frame by frame in plain Python, for frames (T, V)."""
    beams = {(): (0.0, -math.inf)}  # log p of paths that end in a blank, and in the last symbol
    for frame in log_p.double().tolist():
        after: dict[Sequence, tuple[float, float]] = defaultdict(lambda: (-math.inf, -math.inf))
        for prefix, (ends_blank, ends_symbol) in beams.items():
            whole = float(np.logaddexp(ends_blank, ends_symbol))
            for symbol, p in enumerate(frame):
                there_blank, there_symbol = after[prefix]
                if symbol == blank:
                    after[prefix] = float(np.logaddexp(there_blank, whole + p)), there_symbol
                    continue
                longer = (*prefix, symbol)
                entering = whole + p
                if prefix and prefix[-1] == symbol:
                    after[prefix] = there_blank, float(np.logaddexp(there_symbol, ends_symbol + p))
                    entering = ends_blank + p
                its_blank, its_symbol = after[longer]
                after[longer] = its_blank, float(np.logaddexp(its_symbol, entering))
        best = sorted(after, key=lambda prefix: -np.logaddexp(*after[prefix]))[:beam_size]
        beams = {prefix: after[prefix] for prefix in best}
    return {prefix: float(np.logaddexp(*both)) for prefix, both in beams.items()}
