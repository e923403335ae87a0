"""Beam search by an attention decoder and connectionist temporal classification (CTC) together.

B sources, A of them still in the batch, k beams, N = A or A k hypotheses, T frames, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.fusion import Fusion
from lslm_lightning.decoding.search import Decoded, Nested, Step, alone


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
        raise NotImplementedError
