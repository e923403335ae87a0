"""Prefix beam search over the frames of connectionist temporal classification (CTC).

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

# key and parent of prefixes that are not there
NOBODY = -1
NOWHERE = 0
MIX = np.int64(-7046029254386353131)  # an odd number of 64 bits without a pattern


class _Prefixes(NamedTuple):
    """Arrays (B, k) or (A, k) that describe the prefixes of each source.

    A slot without a prefix has -inf for both logarithms, and a `key` and `parent` that no prefix
    has.
    """

    blank: np.ndarray  # log p of all paths so far that end in a blank
    symbol: np.ndarray  # of those that end in the last symbol
    last: np.ndarray  # the last symbol, -1 of the empty prefix
    key: np.ndarray  # int64, tells it from others
    parent: np.ndarray  # the key of the prefix without the last symbol
    added: np.ndarray  # to its log p, by a language model and a bonus for length

    @property
    def score(self) -> np.ndarray:
        """Score of each prefix: log p of all its paths, plus what was added."""
        return np.logaddexp(self.blank, self.symbol) + self.added

    def first(self, n: int) -> "_Prefixes":
        """Return the prefixes of the first n sources."""
        return _Prefixes(*(part[:n] for part in self))


def _empty_prefixes(n_source: int, k: int) -> _Prefixes:
    """Return the initial slots: the empty prefix in the first of each source, none in the
    others.
    """
    never = np.full((n_source, k), -np.inf)
    none = np.full((n_source, k), NOBODY)
    blank = never.copy()
    key = none.copy()
    blank[:, 0] = 0
    key[:, 0] = MIX
    return _Prefixes(blank, never, none, key, np.full_like(none, NOWHERE), np.zeros((n_source, k)))


def _longer_keys(key: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Return the keys of prefixes extended by one symbol: 64 well-mixed bits, practically
    unique.
    """
    mixed = (key ^ (symbol + 1)) * MIX
    return mixed ^ (mixed >> 31)


class _Step(NamedTuple):
    """Origin of each prefix after a frame: arrays (A, k)."""

    parent: np.ndarray  # among the prefixes before
    token: np.ndarray  # that makes it longer, -1 where it stays


def _advance(
    now: _Prefixes, frame: np.ndarray, blank: int, gain: np.ndarray
) -> tuple[_Prefixes, _Step]:
    """Return the best k prefixes one frame later, and where each comes from.

    Args:
        frame: (A, V) log p.
        gain: (A, k, V), what is added to the score of a prefix that is extended by a symbol.
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
    # a symbol twice has a blank between; of the empty prefix nothing changes
    longer[row, np.arange(k), now.last] = now.blank + again
    longer[:, :, blank] = -np.inf
    # which become what is there already
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
    there = scores[row, chosen] > -np.inf
    after = _Prefixes(
        np.where(kept, stays_blank[row, parent], -np.inf),
        np.where(kept, stays_symbol[row, parent], longer[row, parent, token]),
        np.where(kept, now.last[row, parent], token),
        np.where(there, np.where(kept, key, _longer_keys(key, token)), NOBODY),
        np.where(there, np.where(kept, now.parent[row, parent], key), NOWHERE),
        np.where(kept, now.added[row, parent], added[row, parent, token]),
    )
    return after, _Step(parent, np.where(there, token, -1))


def _sequences(steps: Sequence[_Step], n_source: int, k: int) -> list[list[tuple[int, ...]]]:
    """Return the symbols of each final prefix, traced back through the steps."""
    found = [[[] for _ in range(k)] for _ in range(n_source)]
    at = np.tile(np.arange(k), (n_source, 1))
    for parent, token in reversed(steps):
        here = at[: len(parent)]
        row = np.arange(len(parent))[:, None]
        written = token[row, here]
        for source, beam in zip(*np.nonzero(written >= 0), strict=True):
            found[source][beam].append(int(written[source, beam]))
        at[: len(parent)] = parent[row, here]
    return [[tuple(reversed(ids)) for ids in beams] for beams in found]


@dataclass(frozen=True)
class CtcPrefixBeam(CtcSearch):
    """Prefix beam search: keeps the `beam_size` most likely prefixes, each with the probability of
    all its paths through the frames.

    Paths through a prefix that has left the beam are lost, so `nats` are an upper bound, exact
    where the beam holds all prefixes.

    Source: Graves 2012, "Supervised sequence labelling with recurrent neural networks", section
    7.5; Hannun et al. 2014, algorithm 1, without a lexicon.
    """

    fuses = True

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
        # those that have ended are the last rows
        order = lengths.cpu().argsort(descending=True, stable=True).numpy()
        frames = log_probs.double().cpu().numpy()[order]
        n_frame = lengths.cpu().numpy()[order]
        (n_source, _, n_symbol) = frames.shape
        k = self.beam_size
        prefixes = _empty_prefixes(n_source, k)
        steps = []
        reading = FusionState(fusion, n_source * k, n_symbol, log_probs.device)
        for t in range(int(n_frame.max(initial=0))):
            n = int((n_frame > t).sum())
            after, step = _advance(
                prefixes.first(n),
                frames[:n, t],
                blank,
                reading.gain[: n * k].reshape(n, k, n_symbol),
            )
            for whole, part in zip(prefixes, after, strict=True):
                whole[:n] = part
            steps.append(step)
            reading.follow(
                (step.parent + np.arange(0, n * k, k)[:, None]).ravel(), step.token.ravel()
            )
        scores = prefixes.score + reading.gain_of_end.reshape(n_source, k)
        found: list[list[Hypothesis]] = [[] for _ in order]
        for place, ids, score in zip(order, _sequences(steps, n_source, k), scores, strict=True):
            best = [i for i in np.argsort(-score, kind="stable") if score[i] > -np.inf]
            found[place] = [Hypothesis(ids[i], -float(score[i])) for i in best]
        return found
