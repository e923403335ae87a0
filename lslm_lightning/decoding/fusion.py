"""Shallow fusion: a search that asks a language model too.

N hypotheses, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.decoding.search import Nested, Step, log_probabilities, reorder


@dataclass(frozen=True)
class Fusion:
    """A hypothesis of n tokens has log p + `weight` * log p of the language model + `length_bonus` * n, the end counted by the model alone.

    With a weight of 0 the model is never asked.

    Source: Gulcehre et al. 2015, "On using monolingual corpora in neural machine translation", section 4.1; the bonus for length as in
    Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs".

    Args:
        step: of the language model, over the tokens of the search.
        start: the token before the first.
        end: the token after the last.
    """

    step: Step
    start: int
    end: int
    weight: float = 0.3
    length_bonus: float = 0.0

    def __post_init__(self) -> None:
        check_fusion(self.weight)


def check_fusion(weight: float) -> None:
    """Refuse weights below 0."""
    if not 0 <= weight < float("inf"):
        raise ValueError(f"weight={weight} of a language model must be 0 (never asked) or above; 0.3 is usual")


def stacked(parts: Sequence[Nested]) -> Nested:
    """States of the same shape as one, their rows behind each other."""
    first = parts[0]
    if first is None or isinstance(first, Tensor):
        return None if first is None else torch.cat(list(parts))
    rows = [stacked(column) for column in zip(*parts, strict=True)]
    return first._make(rows) if hasattr(first, "_make") else tuple(rows)


class Reading:
    """What the language model makes of hypotheses of different lengths, for a search that keeps each or makes it one token longer.

    Those of one length are read together, for their states have one shape.

    Args:
        n_hypothesis: empty at first.
    """

    def __init__(self, fusion: Fusion, n_hypothesis: int, device: torch.device) -> None:
        self.fusion, self.device = fusion, device
        logits, state = fusion.step(torch.tensor([[fusion.start]], device=device), None, ())
        self.states = [state] * n_hypothesis
        self.length = np.zeros(n_hypothesis, np.int64)
        self.log_p = np.repeat(_numpy(logits), n_hypothesis, 0)  # (N, V) of the next token

    def follow(self, parent: np.ndarray, token: np.ndarray) -> None:
        """Go on with hypotheses `parent` (N,), each longer by `token` (N,), or by nothing where that is -1."""
        states, self.length, self.log_p = [self.states[i] for i in parent], self.length[parent], self.log_p[parent]
        longer = token >= 0
        for n in np.unique(self.length[longer]):
            rows = np.flatnonzero(longer & (self.length == n))
            ids = torch.from_numpy(token[rows, None]).to(self.device)
            logits, state = self.fusion.step(ids, stacked([states[i] for i in rows]), ())
            self.log_p[rows] = _numpy(logits)
            for at, i in enumerate(rows):
                states[i] = reorder(state, torch.tensor([at]))
        self.states, self.length = states, self.length + longer


def _numpy(logits: Tensor) -> np.ndarray:
    return log_probabilities(logits).double().cpu().numpy()
