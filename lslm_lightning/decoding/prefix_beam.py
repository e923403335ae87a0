"""Prefix beam search for connectionist temporal classification (CTC).

Axes: B sources, A of them that have not ended, T frames, V symbols with the blank, k prefixes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.decoding.ctc import CtcSearch, Hypothesis, check_frames
from lslm_lightning.decoding.fusion import Fusion, FusionState

# key and parent of a slot without a prefix
NO_KEY = -1
NO_PARENT = 0
MIX = np.int64(-7046029254386353131)  # multiplier of the hash: odd, 64 well-mixed bits


class _Prefixes(NamedTuple):
    """Prefixes in the beam of each source, as arrays (B, k) or (A, k).

    In an empty slot, `blank` and `symbol` are -inf, and `key` and `parent` are values that no
    prefix has.
    """

    blank: np.ndarray  # log p of all paths so far that end in a blank
    symbol: np.ndarray  # log p of all paths so far that end in the last symbol
    last: np.ndarray  # the last symbol, -1 of the empty prefix
    key: np.ndarray  # int64, identifies the prefix
    parent: np.ndarray  # the key of the prefix without the last symbol
    added: np.ndarray  # score added by a language model and the length bonus

    @property
    def score(self) -> np.ndarray:
        """Score of each prefix: log p of all its paths, plus `added`."""
        score: np.ndarray = np.logaddexp(self.blank, self.symbol) + self.added
        return score

    def first(self, n: int) -> "_Prefixes":
        """Return the prefixes of the first n sources."""
        return _Prefixes(*(part[:n] for part in self))


def _empty_prefixes(n_source: int, k: int) -> _Prefixes:
    """Return the initial beams: for each source, the empty prefix in the first slot, and empty
    slots.
    """
    never = np.full((n_source, k), -np.inf)
    none = np.full((n_source, k), NO_KEY)
    blank = never.copy()
    key = none.copy()
    blank[:, 0] = 0
    key[:, 0] = MIX
    parent = np.full_like(none, NO_PARENT)
    return _Prefixes(blank, never, none, key, parent, np.zeros((n_source, k)))


def _longer_keys(key: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Return the keys of prefixes extended by one symbol: 64-bit hashes, practically unique."""
    mixed = (key ^ (symbol + 1)) * MIX
    keys: np.ndarray = mixed ^ (mixed >> 31)
    return keys


class _Step(NamedTuple):
    """Origin of each prefix in the beam after a frame: arrays (A, k)."""

    parent: np.ndarray  # index among the prefixes before
    token: np.ndarray  # symbol that extends it, -1 where it stays


def _advance(
    now: _Prefixes, frame: np.ndarray, blank: int, gain: np.ndarray
) -> tuple[_Prefixes, _Step]:
    """Return the k best prefixes after one more frame, and the origin of each.

    Args:
        frame: (A, V) log p of the symbols in the frame.
        gain: (A, k, V) score added to a prefix that is extended by a symbol.
    """
    (n_source, k) = now.last.shape
    n_symbol = frame.shape[1]
    row = np.arange(len(frame))[:, None]
    # (A, k)
    total = np.logaddexp(now.blank, now.symbol)
    again = frame[row, now.last]
    stays_blank = total + frame[:, blank, None]
    stays_symbol = now.symbol + again
    longer = total[:, :, None] + frame[:, None]  # (A, k, V)
    # equal symbols have a blank between them; nothing changes for the empty prefix
    longer[row, np.arange(k), now.last] = now.blank + again
    longer[:, :, blank] = -np.inf
    # extended prefixes that are in the beam already
    source, short, long = np.nonzero(now.key[:, :, None] == now.parent[:, None])
    symbol = now.last[source, long]
    stays_symbol[source, long] = np.logaddexp(
        stays_symbol[source, long], longer[source, short, symbol]
    )
    longer[source, short, symbol] = -np.inf

    added = now.added[:, :, None] + gain  # (A, k, V)
    stays = np.logaddexp(stays_blank, stays_symbol) + now.added
    scores = np.concatenate([stays, (longer + added).reshape(n_source, -1)], 1)  # (A, k + k V)
    chosen = scores.argpartition(-k, 1)[:, -k:]
    parent, token = np.divmod(chosen - k, n_symbol)
    kept = chosen < k
    parent = np.where(kept, chosen, parent)
    token = np.where(kept, -1, token)
    key = now.key[row, parent]
    is_prefix = scores[row, chosen] > -np.inf
    after = _Prefixes(
        np.where(kept, stays_blank[row, parent], -np.inf),
        np.where(kept, stays_symbol[row, parent], longer[row, parent, token]),
        np.where(kept, now.last[row, parent], token),
        np.where(is_prefix, np.where(kept, key, _longer_keys(key, token)), NO_KEY),
        np.where(is_prefix, np.where(kept, now.parent[row, parent], key), NO_PARENT),
        np.where(kept, now.added[row, parent], added[row, parent, token]),
    )
    return after, _Step(parent, np.where(is_prefix, token, -1))


def _sequences(steps: Sequence[_Step], n_source: int, k: int) -> list[list[tuple[int, ...]]]:
    """Return the symbols of each final prefix, traced back through the steps: one list of k
    prefixes for each source.
    """
    symbols: list[list[list[int]]] = [[[] for _ in range(k)] for _ in range(n_source)]
    slot = np.tile(np.arange(k), (n_source, 1))
    for parent, token in reversed(steps):
        here = slot[: len(parent)]
        row = np.arange(len(parent))[:, None]
        written = token[row, here]
        for source, beam in zip(*np.nonzero(written >= 0), strict=True):
            symbols[source][beam].append(int(written[source, beam]))
        slot[: len(parent)] = parent[row, here]
    return [[tuple(reversed(ids)) for ids in beams] for beams in symbols]


@dataclass(frozen=True)
class CtcPrefixBeam(CtcSearch):
    """Prefix beam search: keeps the `beam_size` most likely prefixes, each with the probability of
    all its paths through the frames.

    Paths through a prefix that has left the beam are lost. `nats` is therefore an upper bound; it
    is exact if the beam holds all prefixes.

    Source: Graves 2012, "Supervised sequence labelling with recurrent neural networks", section
    7.5; Hannun et al. 2014, algorithm 1, without a lexicon.

    Args:
        beam_size: number of prefixes that are kept for each source.
    """

    supports_fusion = True

    beam_size: int = 10

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ValueError(
                f"beam_size={self.beam_size} must be at least 1; 10 is usual, and CtcGreedy "
                "takes the best path"
            )

    @torch.no_grad()
    def __call__(
        self, log_probs: Tensor, lengths: Tensor, blank: int, fusion: Fusion | None = None
    ) -> list[list[Hypothesis]]:
        check_frames(log_probs, lengths, blank)
        # longest first, so that sources that have ended are the last rows
        order = lengths.cpu().argsort(descending=True, stable=True).numpy()
        frames = log_probs.double().cpu().numpy()[order]
        n_frame = lengths.cpu().numpy()[order]
        (n_source, _, n_symbol) = frames.shape
        k = self.beam_size
        prefixes = _empty_prefixes(n_source, k)
        steps = []
        fused = FusionState(fusion, n_source * k, n_symbol, log_probs.device)
        for t in range(int(n_frame.max(initial=0))):
            n = int((n_frame > t).sum())
            after, step = _advance(
                prefixes.first(n),
                frames[:n, t],
                blank,
                fused.gain[: n * k].reshape(n, k, n_symbol),
            )
            for whole, part in zip(prefixes, after, strict=True):
                whole[:n] = part
            steps.append(step)
            fused.follow(
                (step.parent + np.arange(0, n * k, k)[:, None]).ravel(), step.token.ravel()
            )
        scores = prefixes.score + fused.gain_of_end.reshape(n_source, k)
        hypotheses: list[list[Hypothesis]] = [[] for _ in order]
        for row, ids, score in zip(order, _sequences(steps, n_source, k), scores, strict=True):
            best = [i for i in np.argsort(-score, kind="stable") if score[i] > -np.inf]
            hypotheses[row] = [Hypothesis(ids[i], -float(score[i])) for i in best]
        return hypotheses
