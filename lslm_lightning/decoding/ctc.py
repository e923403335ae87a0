"""Greedy search for connectionist temporal classification (CTC), and the interface of all CTC
searches.

Axes: B sources, T frames, V symbols with the blank. Source: Graves et al. 2006, "Connectionist
temporal classification".
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.decoding.fusion import Fusion


class Hypothesis(NamedTuple):
    """Token ids of a hypothesis, and its cost in nats: minus its log p, minus the scores added by a
    language model and a length bonus.
    """

    ids: tuple[int, ...]
    nats: float


class CtcSearch(ABC):
    """Base class of searches from frames to token sequences. A path of one symbol per frame becomes
    a sequence by merging repetitions and removing blanks, which separate equal symbols.
    """

    supports_fusion = False  # whether it can use a language model (shallow fusion)

    @abstractmethod
    def __call__(
        self, log_probs: Tensor, lengths: Tensor, blank: int, fusion: Fusion | None = None
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each source, at least one, the best first.

        Args:
            log_probs: (B, T, V) log probabilities. Those of a frame sum to 1, or to less if symbols
                are forbidden (-inf).
            lengths: (B,) number of frames of each source; without frames the answer is the empty
                sequence.
            blank: id of the blank.
            fusion: language model to add, for searches with `supports_fusion`.

        Raises:
            ValueError: there are NaN, shapes do not fit, or the search cannot use a language model.
        """


def check_frames(log_probs: Tensor, lengths: Tensor, blank: int) -> None:
    """Check that shapes, lengths and blank fit each other, and that no frame of a source has NaN.

    Raises:
        ValueError: a check fails.
    """
    if log_probs.dim() != 3 or lengths.shape != log_probs.shape[:1]:
        raise ValueError(
            f"log_probs has shape {tuple(log_probs.shape)} and lengths {tuple(lengths.shape)}, "
            "but must be (sources, frames, symbols) and"
            " (sources,)"
        )
    if not 0 <= blank < log_probs.size(2):
        raise ValueError(f"blank={blank} must be one of the {log_probs.size(2)} symbols, from 0 on")
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= log_probs.size(1):
        raise ValueError(
            f"lengths go from {int(lengths.min())} to {int(lengths.max())}, but must be 0 to "
            f"{log_probs.size(1)} frames"
        )
    real = (
        torch.arange(log_probs.size(1), device=log_probs.device)
        < lengths.to(log_probs.device)[:, None]
    )
    if wrong := int((log_probs.isnan().any(-1) & real).any(-1).sum()):
        raise ValueError(
            f"the model gives NaN for {wrong} of {len(lengths)} sources; check the checkpoint "
            "and the precision"
        )


def collapse(path: Tensor, blank: int) -> tuple[int, ...]:
    """Return the symbols of a path (T,) with repetitions merged and blanks removed."""
    symbols = torch.unique_consecutive(path)
    return tuple(symbols[symbols != blank].tolist())


@dataclass(frozen=True)
class CtcGreedy(CtcSearch):
    """Greedy CTC search: takes the most likely symbol of each frame. `nats` is the cost of this
    path alone.
    """

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, blank: int, fusion: Fusion | None = None
    ) -> list[list[Hypothesis]]:
        check_frames(log_probs, lengths, blank)
        if fusion is not None and (fusion.weight or fusion.length_bonus):
            raise ValueError(
                "CtcGreedy cannot use a language model: choose CtcPrefixBeam, or leave fusion out"
            )
        best, path = log_probs.max(-1)  # (B, T)
        rows = zip(best.double().cpu(), path.cpu(), lengths.tolist(), strict=True)
        return [
            [Hypothesis(collapse(symbols[:n], blank), -float(log_p[:n].sum()))]
            for log_p, symbols, n in rows
        ]
