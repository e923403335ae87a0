"""Shallow fusion: adding the log p of a language model to the scores of a search.

Axes: N hypotheses, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.decoding.search import Nested, Step, log_probabilities, reorder


@dataclass(frozen=True)
class Fusion:
    """Language model and weights of shallow fusion.

    The score of a hypothesis of n tokens is log p + `weight` * log p of the language model +
    `length_bonus` * n. The end of sequence counts for the language model, but not for n. With a
    weight of 0 the language model is not called.

    Source: Gulcehre et al. 2015, "On using monolingual corpora in neural machine translation",
    section 4.1; the length bonus as in Hannun et al. 2014, "First-pass large vocabulary continuous
    speech recognition using bi-directional recurrent DNNs".

    Args:
        step: step function of the language model, which has the same tokens as the search.
        start_id: first token that the language model reads.
        eos_id: end-of-sequence token of the language model.
    """

    step: Step
    start_id: int
    eos_id: int
    weight: float = 0.3
    length_bonus: float = 0.0

    def __post_init__(self) -> None:
        check_fusion(self.weight)


def check_fusion(weight: float) -> None:
    """Check that the weight of a language model is 0 or above.

    Raises:
        ValueError: the weight is negative or not finite.
    """
    if not 0 <= weight < float("inf"):
        raise ValueError(
            f"weight={weight} of a language model must be 0 (not used) or above; 0.3 is usual"
        )


def concatenate_states(parts: Sequence[Nested]) -> Nested:
    """Concatenate states along their first axis; all states must have the same structure."""
    first = parts[0]
    if first is None or isinstance(first, Tensor):
        return None if first is None else torch.cat(list(parts))
    rows = [concatenate_states(column) for column in zip(*parts, strict=True)]
    return first._make(rows) if hasattr(first, "_make") else tuple(rows)


class FusionState:
    """Language model scores of the hypotheses of a search, each of which stays or grows by one
    token per step.

    Hypotheses of equal length are read in one call, because their states have equal shapes.

    Args:
        fusion: language model and weights; None adds nothing.
        n_hypothesis: N; all hypotheses are empty at first.
        n_symbol: V of the search; the language model may lack the last symbol.
    """

    def __init__(
        self, fusion: Fusion | None, n_hypothesis: int, n_symbol: int, device: torch.device
    ) -> None:
        self.fusion = None if fusion is None or fusion.weight == 0 else fusion
        self.device = device
        # score added by each next token
        self.gain = np.full(
            (n_hypothesis, n_symbol), 0.0 if fusion is None else fusion.length_bonus
        )
        self.gain_of_end = np.zeros(n_hypothesis)
        if self.fusion is not None:
            first = torch.tensor([[self.fusion.start_id]], device=device)
            logits, state = self.fusion.step(first, None, ())
            check_width(logits.size(1), n_symbol)
            self.states = [state] * n_hypothesis
            self.length = np.zeros(n_hypothesis, np.int64)
            self._write(self.fusion, np.arange(n_hypothesis), logits)

    def follow(self, parent: np.ndarray, token: np.ndarray) -> None:
        """Replace the first n hypotheses by continuations.

        Args:
            parent: (n,) index of the hypothesis that each new one continues.
            token: (n,) token that is appended; -1 for none.
        """
        if self.fusion is None:
            return
        n = len(parent)
        longer = token >= 0
        self.states[:n] = [self.states[i] for i in parent]
        for values in (self.gain, self.gain_of_end, self.length):
            values[:n] = values[parent]
        for length in np.unique(self.length[:n][longer]):
            rows = np.flatnonzero(longer & (self.length[:n] == length))
            ids = torch.from_numpy(token[rows, None]).to(self.device)
            logits, state = self.fusion.step(
                ids, concatenate_states([self.states[i] for i in rows]), ()
            )
            self._write(self.fusion, rows, logits)
            for at, i in enumerate(rows):
                self.states[i] = reorder(state, torch.tensor([at]))
        self.length[:n] += longer

    def _write(self, fusion: Fusion, rows: np.ndarray, logits: Tensor) -> None:
        """Set the scores of the next tokens of the hypotheses `rows` from the logits of the
        language model.
        """
        gain = fusion.weight * log_probabilities(logits).double().cpu().numpy()
        if np.isnan(gain).any():
            raise ValueError(
                "the language model of the fusion gives NaN; check its checkpoint and the precision"
            )
        self.gain_of_end[rows] = gain[:, fusion.eos_id]
        gain[:, fusion.eos_id] = -np.inf  # the search itself ends a hypothesis
        self.gain[rows, : gain.shape[1]] = gain + fusion.length_bonus


def check_width(n_token: int, n_symbol: int) -> None:
    """Check that a language model has as many tokens as the search has symbols, or one less: the
    blank may follow all tokens.

    Raises:
        ValueError: the numbers do not fit.
    """
    if n_symbol - n_token not in (0, 1):
        raise ValueError(
            f"the language model has {n_token} tokens and the search {n_symbol}: they must "
            "use the same tokenizer"
        )
