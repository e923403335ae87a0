"""The beam search of connectionist temporal classification (CTC).

B sources, A of them that have not ended, T frames, V symbols with the blank, k prefixes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.decoding.ctc import CtcSearch, Hypothesis, check_frames
from lslm_lightning.decoding.fusion import Fusion, Reading

MIX = np.int64(-7046029254386353131)  # an odd number with as many ones as zeros


class _Prefixes(NamedTuple):
    """Arrays (B, k) or (A, k); of prefixes that are not there all logarithms are -inf, and `parent` is 0."""

    blank: np.ndarray  # log p of all paths so far that end in a blank
    symbol: np.ndarray  # of those that end in the last symbol
    last: np.ndarray  # the last symbol, -1 of the empty prefix
    key: np.ndarray  # int64, tells it from others
    parent: np.ndarray  # the key of the prefix without the last symbol
    added: np.ndarray  # to its log p, by a language model and a bonus for length

    def first(self, n: int) -> "_Prefixes":
        return _Prefixes(*(part[:n] for part in self))


def _empty_prefixes(n_source: int, k: int) -> _Prefixes:
    never, none = np.full((n_source, k), -np.inf), np.zeros((n_source, k), np.int64)
    blank = never.copy()
    blank[:, 0] = 0
    return _Prefixes(blank, never, none - 1, none + 1, none, np.zeros((n_source, k)))


def _longer_keys(key: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Keys of prefixes one symbol longer: 64 well-mixed bits, which no two prefixes share by chance."""
    mixed = (key ^ (symbol + 1)) * MIX
    return mixed ^ (mixed >> 31)


@dataclass(frozen=True)
class CtcPrefixBeam(CtcSearch):
    """The `beam_size` most likely prefixes side by side, each with all its paths through the frames together.

    What goes on as a prefix that has left the beam is lost, so that `nats` are never too few; they are exact where the beam holds all.

    Source: Graves 2012, "Supervised sequence labelling with recurrent neural networks", section 7.5; Hannun et al. 2014, algorithm 1,
    without a lexicon.
    """

    beam_size: int = 10

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size} must be at least 1; 10 is usual, and CtcGreedy takes the best path")

    @torch.no_grad()
    def __call__(self, log_probs: Tensor, lengths: Tensor, blank: int, fusion: Fusion | None = None) -> list[list[Hypothesis]]:
        check_frames(log_probs, lengths, blank)
        order = lengths.argsort(descending=True, stable=True).cpu()  # those that have ended are the last rows
        frames, n_frame = log_probs.double().cpu().numpy()[order.numpy()], lengths.cpu()[order].numpy()
        prefixes = _empty_prefixes(len(frames), self.beam_size)
        asked = None if fusion is None or not fusion.weight else Reading(fusion, len(frames) * self.beam_size, log_probs.device)
        parents = np.zeros((int(n_frame.max(initial=0)), *prefixes.last.shape), np.int64)
        tokens = np.full_like(parents, -1)  # -1 where a prefix stayed as it was
        for t in range(len(parents)):
            now = prefixes.first(int((n_frame > t).sum()))
            after, parent, token = self._advance(now, frames[: len(now.last), t], blank, fusion, asked)
            for whole, part in zip(prefixes, after, strict=True):
                whole[: len(part)] = part
            parents[t, : len(parent)], tokens[t, : len(token)] = parent, token
            if asked is not None:
                asked.follow((parent + np.arange(len(parent))[:, None] * self.beam_size).ravel(), token.ravel())
        raise NotImplementedError
