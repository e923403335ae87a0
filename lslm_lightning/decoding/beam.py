"""Beam search.

B sources, A of them still in the batch, k beams, V vocabulary, P length of the start, L = P +
max_length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.decoding.search import (
    Decoded,
    Nested,
    Search,
    Step,
    alone,
    check_call,
    check_ngram,
    forbid_repeats,
    log_probabilities,
    refuse_nan,
    reorder,
    rows_to_keep,
    wait_for_others,
    write_back,
)

EMPTY = -1.0e9  # the score of a beam that is not there


class _Beams(NamedTuple):
    place: Tensor  # (A,) which source this is
    history: Tensor  # (A, k, L) start and new tokens of the hypotheses that go on
    running: Tensor  # (A, k) their log p
    ended: Tensor  # (A, k) scores of the best hypotheses that ended, falling
    best: Tensor  # (A, L) the first of these
    n_best: Tensor  # (A,) its new tokens
    done: Tensor  # (A,) bool

    def answer(self, width: int, end: int) -> Decoded:
        n_longest = int(self.n_best.max())
        after = torch.arange(n_longest, device=self.best.device) >= self.n_best[:, None]
        return Decoded(
            self.best[:, width : width + n_longest].masked_fill(after, end),
            self.n_best,
            self.ended[:, 0],
        )


def _first_beams(start: Tensor, n_beam: int, max_length: int, dtype: torch.dtype) -> _Beams:
    n_source, width = start.shape
    history = start.new_zeros(n_source, n_beam, width + max_length)
    history[..., :width] = start[:, None]
    ended = torch.full((n_source, n_beam), EMPTY, dtype=dtype, device=start.device)
    running = ended.clone()
    running[:, 0] = 0  # one beam at first, or all would become the same
    zero = torch.zeros_like(start[:, 0])
    return _Beams(
        torch.arange(n_source).to(start),
        history,
        running,
        ended,
        history[:, 0].clone(),
        zero,
        zero.bool(),
    )


class _Candidates(NamedTuple):
    """Continuations (A, c) of the beams, falling by `score`."""

    score: Tensor  # log p of the whole hypothesis
    parent: Tensor  # the beam it continues
    token: Tensor
    ends: Tensor  # bool


def _candidates(log_p: Tensor, running: Tensor, end: int, last: bool) -> _Candidates:
    """The best 2 k of all continuations: were the best k to end, k could go on."""
    (n_source, n_beam) = running.shape
    vocab_size = log_p.size(-1)
    score = log_p.view(n_source, -1, vocab_size)  # (A, k, V), or (A, 1, V) at first
    # in place: fresh memory is slow
    score = (
        score.add_(running[:, :, None]) if score.size(1) == n_beam else score + running[:, :, None]
    )
    score, index = score.flatten(1).topk(2 * n_beam)
    token = index % vocab_size
    return _Candidates(score, index // vocab_size, token, (token == end) | last)


def _extended(history: Tensor, parent: Tensor, token: Tensor, t: int) -> Tensor:
    """Histories (A, c, L) of `parent` (A, c) with `token` (A, c) at position `t`."""
    longer = history.gather(1, parent[..., None].expand(-1, -1, history.size(-1)))
    longer[..., t] = token
    return longer


def _follow(state: Nested, parent: Tensor, keep: Tensor | None, first: bool) -> Nested:
    """The state of the new beams, children of `parent` (A, k), for the sources `keep`. Before the
    first token there is one row a source.
    """
    source = torch.arange(len(parent))[:, None]
    stay = torch.arange(parent.size(1))
    if first:
        rows = source.expand_as(parent)
    elif keep is None and (parent == stay).all():
        return state
    else:
        rows = source * len(stay) + parent
    return reorder(state, (rows if keep is None else rows[keep]).flatten())


@dataclass(frozen=True)
class Beam(Search):
    """The `beam_size` most likely hypotheses side by side. The answer is the best that ended,
    scored by its log p divided by its number of new tokens, end included, to the power of
    `length_penalty`.

    A hypothesis ends where `end` is among the `beam_size` best continuations of its source. A
    source is done when `beam_size` hypotheses have ended and the best one that goes on, scored at
    its length so far, is no better than the worst of them; with `early_stopping` as soon as
    `beam_size` have ended. At `max_length` all that go on end as they are.

    Source: `generate(num_beams=..., early_stopping=False)` of Hugging Face transformers 5, whose
    answers these are.
    """

    beam_size: int = 5
    length_penalty: float = 1.0
    early_stopping: bool = False
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        check_ngram(self.no_repeat_ngram)
        if self.beam_size < 1:
            raise ValueError(
                f"beam_size={self.beam_size} must be at least 1; 4 or 5 is usual, and 1 is Greedy"
            )

    @torch.inference_mode(False)  # in it, autocast would cast all weights anew at every step
    @torch.no_grad()
    def __call__(
        self,
        step: Step,
        start: Tensor,
        shared: Nested,
        end: int,
        max_length: int,
        min_length: int = 0,
        *,
        start_length: Tensor | None = None,
        agree: Callable[[bool], bool] = alone,
        generator: torch.Generator | None = None,
    ) -> Decoded:
        check_call(start, max_length, min_length)
        if start_length is not None and (start_length != start.size(1)).any():
            raise ValueError(
                "start_length must be the width of start for Beam; search prompts of one length "
                "at a time, or use Greedy"
            )
        mine = shared
        (logits, state) = step(start, None, shared)
        log_p = self._log_p(logits)  # (A, V) at first, then (A k, V)
        beams = whole = _first_beams(start, self.beam_size, max_length, log_p.dtype)
        for n in range(1, max_length + 1):
            t = start.size(1) + n - 1
            forbid_repeats(
                log_p,
                beams.history[:, : len(log_p) // len(beams.done), :t].flatten(0, 1),
                self.no_repeat_ngram,
                end,
            )
            if n <= min_length:
                log_p[:, end] = -torch.inf
            candidates = _candidates(log_p, beams.running, end, n == max_length)
            lost = ~(candidates.score[:, 0] > -torch.inf) & ~beams.done
            beams, parent = self._advance(beams, candidates, t, n)
            parent, done, lost = (
                torch.cat((parent, beams.done[:, None], lost[:, None]), 1)
                .cpu()
                .split((self.beam_size, 1, 1), 1)
            )
            refuse_nan(lost, n)
            if n == max_length or done.all():
                break
            agree(False)
            keep = rows_to_keep(done[:, 0] > 0)
            state = _follow(state, parent, keep, n == 1)
            if keep is not None:
                write_back(whole, beams)
                beams, mine = reorder((beams, mine), keep)
            logits, state = step(beams.history[..., t].reshape(-1, 1), state, mine)
            log_p = self._log_p(logits)
        write_back(whole, beams)
        wait_for_others(step, start, shared, agree)
        return whole.answer(start.size(1), end)

    def _log_p(self, logits: Tensor) -> Tensor:
        """What the tokens add to the score of a hypothesis; may be written to."""
        return log_probabilities(logits)

    def _advance(
        self, beams: _Beams, candidates: _Candidates, t: int, n: int
    ) -> tuple[_Beams, Tensor]:
        """The beams with their `n`-th new token at position `t`, and the beam (A, k) each
        continues.
        """
        k = self.beam_size
        length = n**self.length_penalty
        score = candidates.score[:, :k] / length
        score = score.masked_fill(~candidates.ends[:, :k] | beams.done[:, None], -torch.inf)
        ended = torch.cat((beams.ended, score), 1).topk(k).values
        top, index = score.max(1, keepdim=True)  # (A, 1)
        better = top > beams.ended[:, :1]
        best = _extended(
            beams.history, candidates.parent.gather(1, index), candidates.token.gather(1, index), t
        )[:, 0]
        best = best.where(better, beams.best)
        n_best = beams.n_best.masked_fill(better[:, 0], n)

        score, index = (candidates.score + candidates.ends * EMPTY).topk(k)
        worst = ended[:, -1]
        done = beams.done | ~(score[:, 0] / length > worst)
        if self.early_stopping:
            done |= worst > EMPTY
        parent = candidates.parent.gather(1, index)
        token = candidates.token.gather(1, index)
        history = _extended(beams.history, parent, token, t)
        return _Beams(beams.place, history, score, ended, best, n_best, done), parent
