"""Beam search with the scores of an attention decoder and of connectionist temporal classification
(CTC).

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
from lslm_lightning.decoding.prefix_scores import PrefixScores, frames_of
from lslm_lightning.decoding.search import Decoded, Nested, Step, alone, log_probabilities


class _Scored(Beam):
    """Beam search over a step function that returns scores, which need not be normalized."""

    def _log_p(self, logits: Tensor) -> Tensor:
        return logits


class _Voice(NamedTuple):
    """A step function whose log p is added to the score of each token, times `weight`, and its
    encoder state.
    """

    weight: float
    step: Step
    shared: Nested


def _asked(step: Step, start: int | None = None) -> Step:
    """Return a step function that gives log p, and that reads `start` first where the model's start
    token differs from that of the search.
    """

    def log_p_of(ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        first = state is None and start is not None
        logits, state = step(torch.full_like(ids, start) if first else ids, state, shared)
        return log_probabilities(logits), state

    return log_p_of


def _together(voices: Sequence[_Voice], end: int, length_bonus: float) -> Step:
    """Return a step function that gives the weighted sum of several scorers; its state and its
    encoder state have one part for each scorer.
    """

    def score_of(ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        states = [None] * len(voices) if state is None else state
        found = [
            voice.step(ids, own, mine)
            for voice, own, mine in zip(voices, states, shared, strict=True)
        ]
        width = min(log_p.size(1) for log_p, _ in found)  # without a blank behind all tokens
        for log_p, _ in found:
            check_width(width, log_p.size(1))
        score = (
            sum(
                voice.weight * log_p[:, :width]
                for voice, (log_p, _) in zip(voices, found, strict=True)
            )
            + length_bonus
        )
        score[:, end] -= length_bonus
        return score, tuple(after for _, after in found)

    return score_of


class JointSearch(ABC):
    """Base class of searches by a decoder and CTC together; called like a `Search`, with the CTC
    outputs as further arguments.
    """

    fuses = True

    @property
    @abstractmethod
    def asks_ctc(self) -> bool:
        """True if the search needs CTC outputs."""

    @abstractmethod
    def __call__(
        self,
        step: Step,
        start: Tensor,
        shared: Nested,
        end: int,
        max_length: int,
        min_length: int = 0,
        *,
        log_probs: Tensor | None = None,
        lengths: Tensor | None = None,
        blank: int = 0,
        fusion: Fusion | None = None,
        agree: Callable[[bool], bool] = alone,
    ) -> Decoded:
        """Return the answers, as `Search` does; tokens are the symbols of CTC, but for `eos_id`,
        which CTC never emits.

        Args:
            prefix: (B, 1), the token that the decoder reads first.
            log_probs: (B, T, V) of CTC, as in `CtcSearch`; V is that of the decoder, or one more
                where the blank is the last. None only with a `ctc_weight` of 0.
            lengths: (B,), number of frames of each source.
        """


@dataclass(frozen=True)
class JointBeam(JointSearch):
    """Beam search by (1 - `ctc_weight`) * log p of the decoder + `ctc_weight` * log p of CTC, plus
    the scores of `fusion`.

    CTC gives an unfinished hypothesis the probability of all sequences that begin with it. A weight
    of 0 is `Beam`, a weight of 1 uses CTC alone.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
    recognition", section II.C.
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
    def asks_ctc(self) -> bool:
        return self.ctc_weight > 0

    def __call__(
        self,
        step: Step,
        start: Tensor,
        shared: Nested,
        end: int,
        max_length: int,
        min_length: int = 0,
        *,
        log_probs: Tensor | None = None,
        lengths: Tensor | None = None,
        blank: int = 0,
        fusion: Fusion | None = None,
        agree: Callable[[bool], bool] = alone,
    ) -> Decoded:
        if start.size(1) != 1:
            raise ValueError(
                f"start has {start.size(1)} tokens for JointBeam, but must have 1: CTC has read "
                "none before the first frame"
            )
        voices = [_Voice(1 - self.ctc_weight, _asked(step), shared)]
        if log_probs is not None:
            check_frames(log_probs, lengths, blank)
            if self.asks_ctc and min_length > (fewest := int(lengths.min())):
                raise ValueError(
                    f"min_length={min_length} must be at most {fewest}, the frames of the "
                    "shortest source, for CTC"
                )
            voices.append(
                _Voice(
                    self.ctc_weight, PrefixScores(blank, end), frames_of(log_probs, lengths, blank)
                )
            )
        elif self.asks_ctc:
            raise ValueError(
                f"ctc_weight={self.ctc_weight} of JointBeam must be 0 for a model without a CTC "
                "head"
            )
        if fusion is not None:
            if fusion.end != end:
                raise ValueError(
                    f"the language model ends with token {fusion.end} and the search with {end}: "
                    "they must have one tokenizer"
                )
            voices.append(_Voice(fusion.weight, _asked(fusion.step, fusion.start), ()))
        voices = [voice for voice in voices if voice.weight]
        together = _together(voices, end, 0.0 if fusion is None else fusion.length_bonus)
        beam = _Scored(self.beam_size, self.length_penalty, self.early_stopping)
        return beam(
            together,
            start,
            tuple(voice.shared for voice in voices),
            end,
            max_length,
            min_length,
            agree=agree,
        )
