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
    """A hypothesis of n tokens has log p + `weight` * log p of the language model + `length_bonus`
    * n, the end counted by the model alone.

    With a weight of 0 the model is never asked.

    Source: Gulcehre et al. 2015, "On using monolingual corpora in neural machine translation",
    section 4.1; the bonus for length as in Hannun et al. 2014, "First-pass large vocabulary
    continuous speech recognition using bi-directional recurrent DNNs".

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
        raise ValueError(
            f"weight={weight} of a language model must be 0 (never asked) or above; 0.3 is usual"
        )


def stacked(parts: Sequence[Nested]) -> Nested:
    """States of the same shape as one, their rows behind each other."""
    first = parts[0]
    if first is None or isinstance(first, Tensor):
        return None if first is None else torch.cat(list(parts))
    rows = [stacked(column) for column in zip(*parts, strict=True)]
    return first._make(rows) if hasattr(first, "_make") else tuple(rows)


class FusionState:
    """What is added to hypotheses of different lengths, for a search that keeps each or makes it
    one token longer.

    Those of one length are read together, for their states have one shape.

    Args:
        fusion: None for nothing to add.
        n_hypothesis: N, all of them empty at first.
        n_symbol: V of the search; the language model may lack the last one.
    """

    def __init__(
        self, fusion: Fusion | None, n_hypothesis: int, n_symbol: int, device: torch.device
    ) -> None:
        self.fusion = fusion
        self.device = device
        # of each next token
        self.gain = np.full(
            (n_hypothesis, n_symbol), 0.0 if fusion is None else fusion.length_bonus
        )
        self.gain_of_end = np.zeros(n_hypothesis)
        self.asks = fusion is not None and fusion.weight > 0
        if self.asks:
            logits, state = fusion.step(torch.tensor([[fusion.start]], device=device), None, ())
            check_width(logits.size(1), n_symbol)
            self.states = [state] * n_hypothesis
            self.length = np.zeros(n_hypothesis, np.int64)
            self._write(np.arange(n_hypothesis), logits)

    def follow(self, parent: np.ndarray, token: np.ndarray) -> None:
        """The first n hypotheses are now those that `parent` (n,) names, each longer by `token`
        (n,), or as it was where that is -1.
        """
        if not self.asks:
            return
        n = len(parent)
        longer = token >= 0
        self.states[:n] = [self.states[i] for i in parent]
        for values in (self.gain, self.gain_of_end, self.length):
            values[:n] = values[parent]
        for length in np.unique(self.length[:n][longer]):
            rows = np.flatnonzero(longer & (self.length[:n] == length))
            ids = torch.from_numpy(token[rows, None]).to(self.device)
            logits, state = self.fusion.step(ids, stacked([self.states[i] for i in rows]), ())
            self._write(rows, logits)
            for at, i in enumerate(rows):
                self.states[i] = reorder(state, torch.tensor([at]))
        self.length[:n] += longer

    def _write(self, rows: np.ndarray, logits: Tensor) -> None:
        gain = self.fusion.weight * log_probabilities(logits).double().cpu().numpy()
        if np.isnan(gain).any():
            raise ValueError(
                "the language model of the fusion gives NaN; check its checkpoint and the precision"
            )
        self.gain_of_end[rows] = gain[:, self.fusion.end]
        gain[:, self.fusion.end] = -np.inf  # a hypothesis ends where the search ends
        self.gain[rows, : gain.shape[1]] = gain + self.fusion.length_bonus


def check_width(n_token: int, n_symbol: int) -> None:
    """Refuse a language model of another vocabulary than the search has, which may hold one symbol
    more, a blank behind all others.
    """
    if n_symbol - n_token not in (0, 1):
        raise ValueError(
            f"the language model knows {n_token} tokens and the search {n_symbol}: they must "
            "have one tokenizer"
        )
