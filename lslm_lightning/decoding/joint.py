"""Beam search by an attention decoder and connectionist temporal classification (CTC) together.

B sources, A of them still in the batch, k beams, N = A or A k hypotheses, T frames, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.ctc import check_frames
from lslm_lightning.decoding.fusion import Fusion, check_width
from lslm_lightning.decoding.prefix_scores import PrefixScores, frames_of
from lslm_lightning.decoding.search import Decoded, Nested, Step, alone, log_probabilities


class _Scored(Beam):
    """Over a step that gives scores, which need no sum of 1."""

    def _log_p(self, logits: Tensor) -> Tensor:
        return logits


class _Part(NamedTuple):
    """One voice in the score of a token."""

    weight: float
    step: Step  # gives log p
    shared: Nested


def _normalized(step: Step) -> Step:
    def with_log_p(ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        logits, state = step(ids, state, shared)
        return log_probabilities(logits), state

    return with_log_p


def _beginning(step: Step, start: int) -> Step:
    """The step of a model that reads another first token than the decoder."""

    def with_start(ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        return step(torch.full_like(ids, start) if state is None else ids, state, shared)

    return with_start


@dataclass(frozen=True)
class JointBeam:
    """`Beam` by (1 - `ctc_weight`) * log p of the decoder + `ctc_weight` * log p of CTC + what `fusion` adds, where CTC gives a hypothesis
    that goes on the probability of all sequences that begin with it. A weight of 0 is `Beam`, one of 1 asks CTC alone.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", section II.C.
    """

    beam_size: int = 10
    ctc_weight: float = 0.3
    length_penalty: float = 0.0
    early_stopping: bool = False

    def __post_init__(self) -> None:
        Beam(self.beam_size)
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"ctc_weight={self.ctc_weight} must be from 0, which is Beam, to 1, which is CTC alone; 0.3 is usual")

    def __call__(
        self,
        step: Step,
        start: Tensor,
        shared: Nested,
        end: int,
        max_length: int,
        min_length: int = 0,
        *,
        log_probs: Tensor,
        lengths: Tensor,
        blank: int,
        fusion: Fusion | None = None,
        agree: Callable[[bool], bool] = alone,
    ) -> Decoded:
        """As of `Search`; the tokens are the symbols of CTC, `end` aside, which CTC never writes.

        Args:
            start: (B, 1), what the decoder reads first.
            log_probs: (B, T, V) of CTC, as of `CtcSearch`; V is that of the decoder, or one more where the blank is the last.
            lengths: (B,), frames of each source.
        """
        check_frames(log_probs, lengths, blank)
        if start.size(1) != 1:
            raise ValueError(
                f"start has {start.size(1)} tokens for JointBeam, but must have 1: CTC has read nothing before the first frame"
            )
        parts = [_Part(1 - self.ctc_weight, _normalized(step), shared)]
        parts += [_Part(self.ctc_weight, PrefixScores(blank, end), frames_of(log_probs, lengths, blank))]
        if fusion is not None:
            if fusion.end != end:
                raise ValueError(f"the language model ends with token {fusion.end} and the search with {end}: they must have one tokenizer")
            parts += [_Part(fusion.weight, _beginning(_normalized(fusion.step), fusion.start), ())]
        asked = [part for part in parts if part.weight]
        bonus = 0.0 if fusion is None else fusion.length_bonus

        def together(ids: Tensor, states: Nested, each_shared: Nested) -> tuple[Tensor, Nested]:
            states = [None] * len(asked) if states is None else states
            found = [part.step(ids, state, own) for part, state, own in zip(asked, states, each_shared, strict=True)]
            width = min(log_p.size(1) for log_p, _ in found)
            for log_p, _ in found:
                check_width(width, log_p.size(1))
            score = sum(part.weight * log_p[:, :width] for part, (log_p, _) in zip(asked, found, strict=True))
            score[:, :end] += bonus
            score[:, end + 1 :] += bonus
            return score, tuple(state for _, state in found)

        beam = _Scored(self.beam_size, self.length_penalty, self.early_stopping)
        return beam(together, start, tuple(part.shared for part in asked), end, max_length, min_length, agree=agree)
