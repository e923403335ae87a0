"""Next-token probabilities of connectionist temporal classification (CTC), which let a search use
CTC like a decoder.

Axes: B sources, A of them still in the batch, k beams, N = A or A k hypotheses, T frames, V
symbols.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST = -1e4  # lower bound of log p in cumulative sums: infinities have no difference


class PrefixFrames(NamedTuple):
    """Frame probabilities of each source, shared by all its hypotheses.

    After the last frame of a source only blanks follow, with probability 1.
    """

    log_p: Tensor  # (A, T, V) float64
    top: Tensor  # (A, 1, V) maximum over frames
    share: Tensor  # (A, T, V) exp(log_p - top)


class Paths(NamedTuple):
    """Log p of all paths that emit a hypothesis in the first t frames, for t from 0 to T."""

    blank: Tensor  # (N, T + 1) log p of those that end in a blank
    symbol: Tensor  # (N, T + 1) log p of those that end in the last symbol
    last: Tensor  # (N, 1) the last symbol, the blank of the empty hypothesis
    begun: Tensor  # (N, 1) log p of all sequences that begin with the hypothesis


def prefix_frames(log_probs: Tensor, lengths: Tensor, blank: int) -> PrefixFrames:
    """Return the frame probabilities for `PrefixScores`.

    Args:
        log_probs: (B, T, V) log probabilities of CTC.
        lengths: (B,) number of frames of each source.
        blank: id of the blank.
    """
    # (B, T)
    after = (
        torch.arange(log_probs.size(1), device=log_probs.device)
        >= lengths.to(log_probs.device)[:, None]
    )
    log_p = log_probs.double().masked_fill(after[..., None], -torch.inf)
    log_p[..., blank] = log_p[..., blank].masked_fill(after, 0)
    top = without_infinity(log_p.amax(1, keepdim=True))
    return PrefixFrames(log_p, top, (log_p - top).exp())


def without_infinity(log_p: Tensor) -> Tensor:
    """Return log p with 0 in place of -inf, so that it can be subtracted."""
    return log_p.masked_fill(log_p == -torch.inf, 0)


def token_log_p(log_p: Tensor, ids: Tensor) -> Tensor:
    """Return the log p (N, T) of one token per hypothesis in each frame.

    Args:
        log_p: (A, T, V) log p of all symbols.
        ids: (N, 1) token of each hypothesis.
    """
    n_source, n_frame, _ = log_p.shape
    tokens = ids.view(n_source, 1, -1).expand(-1, n_frame, -1)  # (A, T, k)
    return log_p.gather(2, tokens).transpose(1, 2).flatten(0, 1)


def accumulated(entering: Tensor, log_p: Tensor) -> Tensor:
    """Return log p (N, T + 1) of being in a state after 0 to T frames.

    This is the recursion x[t] = (x[t - 1] + entering[t]) * p[t] from x[0] = 0, computed for all
    frames at once: x[t] / (p[1] ... p[t]) are cumulative sums.

    Args:
        entering: (N, T) log p of the paths that enter the state in each frame, without that frame.
        log_p: (N, T) log p of the symbol of the state in each frame.
    """
    passed = log_p.clamp_min(LEAST).cumsum(1)  # (N, T)
    before = torch.cat([torch.zeros_like(passed[:, :1]), passed[:, :-1]], 1)
    stayed = (entering - before).logcumsumexp(1) + passed
    return torch.cat([torch.full_like(passed[:, :1], -torch.inf), stayed], 1)


class PrefixScores:
    """CTC as a `Step`: gives the log probability of each next token.

    P(token) is the probability of all sequences that begin with the hypothesis and the token,
    divided by the probability of all sequences that begin with the hypothesis. P(end) is the
    probability of the hypothesis as a whole, divided by the same. The encoder state is
    `PrefixFrames`, the state is `Paths`.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
    recognition", algorithm 2; Graves 2012, "Supervised sequence labelling with recurrent neural
    networks", section 7.5. Sums over frames are matrix products here, and recursions are cumulative
    sums.
    """

    def __init__(self, blank: int, eos_id: int) -> None:
        self.blank = blank
        self.eos_id = eos_id

    def __call__(
        self, ids: Tensor, state: Paths | None, encoder_state: PrefixFrames
    ) -> tuple[Tensor, Paths]:
        """Return log p (N, V) of the next token after `ids` (N, 1), and the new state. In the first
        call, `state` is None and `ids` are ignored.
        """
        paths = (
            self._empty(encoder_state.log_p)
            if state is None
            else self._longer(state, ids, encoder_state.log_p)
        )
        whole = torch.logaddexp(paths.blank, paths.symbol)  # (N, T + 1)
        most = without_infinity(whole[:, :-1].amax(1, keepdim=True))  # (N, 1)
        # (A, k, V)
        share = (whole[:, :-1] - most).exp().view(
            len(encoder_state.log_p), -1, whole.size(1) - 1
        ) @ encoder_state.share
        log_p = (share.log() + encoder_state.top).flatten(0, 1) + most
        # the last symbol again, with a blank between
        twice = (paths.blank[:, :-1] + token_log_p(encoder_state.log_p, paths.last)).logsumexp(
            1, keepdim=True
        )
        log_p.scatter_(1, paths.last, twice)
        log_p[:, self.blank] = -torch.inf
        log_p[:, self.eos_id] = whole[:, -1]
        return log_p - without_infinity(paths.begun), paths

    def _empty(self, log_p: Tensor) -> Paths:
        # (A, T + 1)
        """Return the paths of the empty hypothesis of each source."""
        blank = torch.cat([torch.zeros_like(log_p[:, :1, 0]), log_p[..., self.blank].cumsum(1)], 1)
        nothing = torch.zeros_like(blank[:, :1])
        return Paths(
            blank,
            torch.full_like(blank, -torch.inf),
            torch.full_like(nothing, self.blank, dtype=torch.long),
            nothing,
        )

    def _longer(self, paths: Paths, ids: Tensor, log_p: Tensor) -> Paths:
        """Return the paths of each hypothesis extended by its next token (N, 1)."""
        # (N, T)
        before = torch.where(
            ids == paths.last, paths.blank, torch.logaddexp(paths.blank, paths.symbol)
        )[:, :-1]
        of_symbol = token_log_p(log_p, ids)
        of_blank = token_log_p(log_p, torch.full_like(ids, self.blank))
        symbol = accumulated(before, of_symbol)
        return Paths(
            accumulated(symbol[:, :-1], of_blank),
            symbol,
            ids,
            (before + of_symbol).logsumexp(1, keepdim=True),
        )
