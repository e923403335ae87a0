"""Beam search that adds the scores of an attention decoder and of connectionist temporal
classification (CTC).

Axes: B sources, A of them still in the batch, k beams, N = A or A k hypotheses, T frames, V
symbols.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.ctc import check_frames
from lslm_lightning.decoding.fusion import Fusion, check_width
from lslm_lightning.decoding.prefix_scores import PrefixScores, prefix_frames
from lslm_lightning.decoding.search import Decoded, Nested, Step, log_probabilities, no_sync


class _Scored(Beam):
    """Beam search over a step function that returns scores, which need not be log-probabilities."""

    def _log_p(self, logits: Tensor) -> Tensor:
        return logits


class _Scorer(NamedTuple):
    """Step function with the weight of its log p in the score of a token, and its encoder state."""

    weight: float
    step: Step
    encoder_state: Nested


def _log_p_step(step: Step, start_id: int | None = None) -> Step:
    """Return a step function that gives log p instead of logits.

    Args:
        start_id: first token that the model reads, if it differs from the start token of the
            search.
    """

    def log_p_of(ids: Tensor, state: Nested, encoder_state: Nested) -> tuple[Tensor, Nested]:
        if state is None and start_id is not None:
            ids = torch.full_like(ids, start_id)
        logits, state = step(ids, state, encoder_state)
        return log_probabilities(logits), state

    return log_p_of


def _weighted_sum(scorers: Sequence[_Scorer], eos_id: int, length_bonus: float) -> Step:
    """Return a step function that gives the weighted sum of the scorers. Its state and its encoder
    state are tuples with one part for each scorer.

    Args:
        length_bonus: score added for each token except `eos_id`.
    """

    def score_of(ids: Tensor, state: Nested, encoder_state: Nested) -> tuple[Tensor, Nested]:
        states = [None] * len(scorers) if state is None else state
        results = [
            scorer.step(ids, own_state, source)
            for scorer, own_state, source in zip(scorers, states, encoder_state, strict=True)
        ]
        width = min(log_p.size(1) for log_p, _ in results)
        for log_p, _ in results:
            check_width(width, log_p.size(1))
        first, *others = (
            scorer.weight * log_p[:, :width]
            for scorer, (log_p, _) in zip(scorers, results, strict=True)
        )
        score = sum(others, start=first) + length_bonus
        score[:, eos_id] -= length_bonus
        return score, tuple(after for _, after in results)

    return score_of


class JointSearch(ABC):
    """Base class of searches that combine a decoder and CTC. They are called like a `Search`, with
    the CTC outputs as further arguments.
    """

    supports_fusion = True

    @property
    @abstractmethod
    def uses_ctc(self) -> bool:
        """True if the search needs `log_probs` of CTC."""

    @abstractmethod
    def __call__(
        self,
        step: Step,
        prefix: Tensor,
        encoder_state: Nested,
        eos_id: int,
        max_length: int,
        min_length: int = 0,
        *,
        log_probs: Tensor | None = None,
        lengths: Tensor | None = None,
        blank: int = 0,
        fusion: Fusion | None = None,
        all_ranks_done: Callable[[bool], bool] = no_sync,
    ) -> Decoded:
        """Return the answers, as `Search` does. The tokens are the symbols of CTC, except `eos_id`,
        which CTC never emits.

        Args:
            prefix: (B, 1), the first token that the decoder reads.
            log_probs: (B, T, V) of CTC, as in `CtcSearch`. V is the vocabulary size of the decoder,
                or one more if the blank is the last symbol. None if `uses_ctc` is False.
            lengths: (B,) number of frames of each source.
            blank: id of the blank.
            fusion: language model to add.
        """


@dataclass(frozen=True)
class JointBeam(JointSearch):
    """Beam search over (1 - `ctc_weight`) * log p of the decoder + `ctc_weight` * log p of CTC,
    plus the scores of `fusion`.

    The CTC probability of an unfinished hypothesis is the sum over all sequences that begin with
    it. With `ctc_weight` 0 the search equals `Beam`; with 1 it uses CTC alone.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
    recognition", section II.C.

    Args:
        beam_size: number of hypotheses that are kept for each source.
        ctc_weight: weight of the CTC score, from 0 to 1; the decoder has the rest.
        length_penalty: exponent of the length that divides log p; 0 for no normalization, more for
            longer answers.
        early_stopping: end as soon as `beam_size` hypotheses have ended.
    """

    beam_size: int = 10
    ctc_weight: float = 0.3
    length_penalty: float = 0.0
    early_stopping: bool = False

    def __post_init__(self) -> None:
        Beam(self.beam_size)
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(
                f"ctc_weight={self.ctc_weight} must be from 0, which is Beam, to 1, which is CTC "
                "alone; 0.3 is usual"
            )

    @property
    def uses_ctc(self) -> bool:
        return self.ctc_weight > 0

    def __call__(
        self,
        step: Step,
        prefix: Tensor,
        encoder_state: Nested,
        eos_id: int,
        max_length: int,
        min_length: int = 0,
        *,
        log_probs: Tensor | None = None,
        lengths: Tensor | None = None,
        blank: int = 0,
        fusion: Fusion | None = None,
        all_ranks_done: Callable[[bool], bool] = no_sync,
    ) -> Decoded:
        if prefix.size(1) != 1:
            raise ValueError(
                f"prefix has {prefix.size(1)} tokens for JointBeam, but must have 1: CTC has read "
                "none before the first frame"
            )
        scorers = [_Scorer(1 - self.ctc_weight, _log_p_step(step), encoder_state)]
        if log_probs is not None:
            assert lengths is not None
            check_frames(log_probs, lengths, blank)
            if self.uses_ctc and min_length > (fewest := int(lengths.min())):
                raise ValueError(
                    f"min_length={min_length} must be at most {fewest}, the frames of the "
                    "shortest source, for CTC"
                )
            frames = prefix_frames(log_probs, lengths, blank)
            scorers.append(_Scorer(self.ctc_weight, PrefixScores(blank, eos_id), frames))
        elif self.uses_ctc:
            raise ValueError(
                f"ctc_weight={self.ctc_weight} of JointBeam must be 0 for a model without a CTC "
                "head"
            )
        if fusion is not None:
            if fusion.eos_id != eos_id:
                raise ValueError(
                    f"the language model has end-of-sequence token {fusion.eos_id} and the search "
                    f"{eos_id}: they must use the same tokenizer"
                )
            scorers.append(_Scorer(fusion.weight, _log_p_step(fusion.step, fusion.start_id), ()))
        scorers = [scorer for scorer in scorers if scorer.weight]
        combined = _weighted_sum(scorers, eos_id, 0.0 if fusion is None else fusion.length_bonus)
        beam = _Scored(self.beam_size, self.length_penalty, self.early_stopping)
        return beam(
            combined,
            prefix,
            tuple(scorer.encoder_state for scorer in scorers),
            eos_id,
            max_length,
            min_length,
            all_ranks_done=all_ranks_done,
        )
