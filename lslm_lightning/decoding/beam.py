"""Beam search.

Axes: B sources, A of them still in the batch, k beams, m best answers, V vocabulary, P length of
the prefix, L = P + max_length.
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
    best_sums,
    check_call,
    check_ngram,
    check_probabilities,
    forbid_repeats,
    log_probabilities,
    no_sync,
    reorder,
    rows_to_keep,
    wait_for_others,
    write_back,
)

EMPTY = -1.0e9  # score of an empty beam


class Beams(NamedTuple):
    """Hypotheses of the sources that are still in the batch. Sources may have written different
    numbers of tokens.
    """

    row: Tensor  # (A,) index of the source
    n: Tensor  # (A,) new tokens so far
    shortest: Tensor  # (A,) fewest new tokens
    longest: Tensor  # (A,) most new tokens
    history: Tensor  # (A, k, L) prefix and new tokens of the unfinished hypotheses
    running: Tensor  # (A, k) their log p
    ended: Tensor  # (A, k) scores of the best finished hypotheses, decreasing
    best: Tensor  # (A, m, L) prefix and tokens of the first m of these
    n_token: Tensor  # (A, m) their new tokens
    done: Tensor  # (A,) bool

    def answer(self, width: int, eos_id: int, length_penalty: float) -> Decoded:
        """Return the m best finished hypotheses of each source, without the prefix.

        Args:
            width: length of the prefix.
        """
        n_token = self.n_token.flatten()
        n_longest = int(n_token.max())
        after = torch.arange(n_longest, device=self.best.device) >= n_token[:, None]
        n_best = self.best.size(1)
        score = self.ended[:, :n_best].flatten()
        return Decoded(
            self.best.flatten(0, 1)[:, width : width + n_longest].masked_fill(after, eos_id),
            n_token,
            score,
            score * n_token.to(score.dtype) ** length_penalty,
        )


def first_beams(
    prefix: Tensor, n_beam: int, shortest: Tensor, longest: Tensor, dtype: torch.dtype, n_best: int
) -> Beams:
    """Return the initial beams of each source: one hypothesis that holds the prefix (B, P), and
    k - 1 empty beams.

    Args:
        shortest: (B,) fewest new tokens.
        longest: (B,) most new tokens.
        dtype: type of the scores.
    """
    n_source, width = prefix.shape
    history = prefix.new_zeros(n_source, n_beam, width + int(longest.max()))
    history[..., :width] = prefix[:, None]
    ended = torch.full((n_source, n_beam), EMPTY, dtype=dtype, device=prefix.device)
    running = ended.clone()
    running[:, 0] = 0  # a single beam at first, or all would become the same
    row = torch.arange(n_source).to(prefix)
    return Beams(
        row,
        torch.zeros_like(row),
        shortest,
        longest,
        history,
        running,
        ended,
        history[:, :n_best].clone(),
        prefix.new_zeros(n_source, n_best),
        torch.zeros_like(row).bool(),
    )


class _Candidates(NamedTuple):
    """Continuations (A, c) of the beams of each source, in decreasing order of `score`."""

    score: Tensor  # log p of the whole hypothesis
    parent: Tensor  # the beam it continues
    token: Tensor
    ends: Tensor  # bool


def _candidates(log_p: Tensor, running: Tensor, eos_id: int, last: Tensor) -> _Candidates:
    """Return the 2 k best continuations of each source. Even if the best k all end, k others remain
    unfinished.

    Args:
        log_p: (A k, V) log p of the next token; (A, V) at the first step.
        running: (A, k) log p of the hypotheses.
        last: (A,) bool, True at the maximum length, where all continuations end.
    """
    (n_source, n_beam) = running.shape
    vocab_size = log_p.size(-1)
    # (A, k, V), or (A, 1, V) at first
    score, index = best_sums(log_p.view(n_source, -1, vocab_size), running, 2 * n_beam)
    token = index % vocab_size
    return _Candidates(score, index // vocab_size, token, (token == eos_id) | last[:, None])


def _extended(history: Tensor, parent: Tensor, token: Tensor, t: Tensor) -> Tensor:
    """Return the histories (A, c, L) of the beams `parent` (A, c), with `token` (A, c) written at
    position `t` (A,).
    """
    longer = history.gather(1, parent[..., None].expand(-1, -1, history.size(-1)))
    at = t[:, None, None].expand(*token.shape, 1)
    return longer.scatter_(2, at, token[..., None])


def _kept(
    beams: Beams, candidates: _Candidates, score: Tensor, t: Tensor, n: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the m best finished hypotheses (A, m, L) and their numbers of new tokens (A, m), after
    adding the hypotheses that end in this step. Of equal scores, the older hypothesis stays.

    Args:
        candidates: continuations in this step.
        score: (A, k) scores of the continuations that end, -inf for the others.
        t: (A,) position of the new token.
        n: (A,) number of new tokens.
    """
    n_best = beams.best.size(1)
    if n_best == 1:
        top, index = score.max(1, keepdim=True)  # (A, 1)
        is_new = top > beams.ended[:, :1]
        old, n_old = beams.best, beams.n_token
    else:
        # continuations of an empty beam are not answers
        real = candidates.score[:, : score.size(1)] > EMPTY / 2
        whole = torch.cat((beams.ended[:, :n_best], score.where(real, -torch.inf)), 1)
        order = whole.sort(dim=1, descending=True, stable=True).indices
        rank = order[:, :n_best]  # (A, m)
        is_new = rank >= n_best
        index = (rank - n_best).clamp(min=0)
        before = rank.clamp(max=n_best - 1)
        old = beams.best.gather(1, before[..., None].expand_as(beams.best))
        n_old = beams.n_token.gather(1, before)
    new = _extended(
        beams.history, candidates.parent.gather(1, index), candidates.token.gather(1, index), t
    )
    return new.where(is_new[..., None], old), n[:, None].where(is_new, n_old)


def _follow(state: Nested, parent: Tensor, keep: Tensor | None, first: bool) -> Nested:
    """Return the state of the new beams, which continue the beams `parent` (A, k).

    Args:
        keep: indices of the sources that stay in the batch; None for all.
        first: True before the first new token, when the state has one row for each source.
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
    """Beam search: keeps the `beam_size` most likely hypotheses of each source.

    The answer is the finished hypothesis with the highest score: log p / n ** `length_penalty`, for
    n new tokens including the end of sequence.

    A hypothesis ends if `eos_id` is among the `beam_size` best continuations of its source. A
    source is done when `beam_size` hypotheses have ended and the best unfinished hypothesis, scored
    at its current length, is no better than the worst of them; with `early_stopping`, as soon as
    `beam_size` have ended. At `max_length`, unfinished hypotheses end as they are.

    Source: `generate(num_beams=..., early_stopping=False)` of Hugging Face transformers 5, which
    gives the same answers.

    Args:
        beam_size: number of hypotheses that are kept for each source.
        length_penalty: exponent of the length that divides log p; 0 for no normalization, more for
            longer answers.
        early_stopping: end as soon as `beam_size` hypotheses have ended.
        no_repeat_ngram: no sequence of this many tokens occurs twice; 0 to allow all.
    """

    beam_size: int = 5
    length_penalty: float = 1.0
    early_stopping: bool = False
    no_repeat_ngram: int = 0
    needs_equal_lengths = True

    def __post_init__(self) -> None:
        check_ngram(self.no_repeat_ngram)
        if self.beam_size < 1:
            raise ValueError(
                f"beam_size={self.beam_size} must be at least 1; 4 or 5 is usual, and 1 is Greedy"
            )

    def check_n_best(self, n_best: int) -> None:
        if not 1 <= n_best <= self.beam_size:
            raise ValueError(
                f"n_best={n_best} must be at least 1 and at most beam_size={self.beam_size} of the "
                "search; raise beam_size, or lower n_best"
            )

    @torch.inference_mode(False)  # otherwise autocast casts all weights again at every step
    @torch.no_grad()
    def __call__(
        self,
        step: Step,
        prefix: Tensor,
        encoder_state: Nested,
        eos_id: int,
        max_length: int,
        min_length: int = 0,
        *,
        prefix_length: Tensor | None = None,
        all_ranks_done: Callable[[bool], bool] = no_sync,
        generator: torch.Generator | None = None,
        n_best: int = 1,
    ) -> Decoded:
        check_call(prefix, max_length, min_length)
        self.check_n_best(n_best)
        if prefix_length is not None and (prefix_length != prefix.size(1)).any():
            raise ValueError(
                "prefix_length must be the width of prefix for Beam; search prompts of one length "
                "at a time, or use Greedy"
            )
        active_source = encoder_state
        (logits, state) = step(prefix, None, encoder_state)
        log_p = self._log_p(logits)  # (A, V) at first, then (A k, V)
        shortest, longest = (prefix.new_full(prefix.shape[:1], n) for n in (min_length, max_length))
        beams = whole = first_beams(prefix, self.beam_size, shortest, longest, log_p.dtype, n_best)
        for n in range(1, max_length + 1):
            t = prefix.size(1) + n - 1
            forbid_repeats(
                log_p,
                beams.history[:, : len(log_p) // len(beams.done), :t].flatten(0, 1),
                self.no_repeat_ngram,
                eos_id,
            )
            beams, parent, lost = self.advance(beams, log_p, eos_id, prefix.size(1))
            on_host = torch.cat((parent, beams.done[:, None], lost[:, None]), 1).cpu()
            parent, done, lost = torch.split(on_host, [self.beam_size, 1, 1], 1)
            check_probabilities(lost, n)
            if n == max_length or done.all():
                break
            all_ranks_done(False)
            keep = rows_to_keep(done[:, 0] > 0)
            state = _follow(state, parent, keep, n == 1)
            if keep is not None:
                write_back(whole, beams)
                beams, active_source = reorder((beams, active_source), keep)
            logits, state = step(beams.history[..., t].reshape(-1, 1), state, active_source)
            log_p = self._log_p(logits)
        write_back(whole, beams)
        wait_for_others(step, prefix, encoder_state, all_ranks_done)
        return whole.answer(prefix.size(1), eos_id, self.length_penalty)

    def _log_p(self, logits: Tensor) -> Tensor:
        """Return a new tensor with the log p of each next token, which is added to the score of a
        hypothesis.
        """
        return log_probabilities(logits)

    def advance(
        self, beams: Beams, log_p: Tensor, eos_id: int, width: int
    ) -> tuple[Beams, Tensor, Tensor]:
        """Return the beams after their next token, the index (A, k) of the beam that each new beam
        continues, and a mask (A,) of the sources for which no token is possible.

        Args:
            log_p: (A k, V) log p of the next token; (A, V) at the first step. Overwritten.
            width: length of the prefix in the histories.
        """
        k = self.beam_size
        n = beams.n + 1
        t = width + beams.n
        of_end = log_p.view(len(n), -1, log_p.size(-1))[..., eos_id]  # (A, k) or (A, 1)
        of_end.masked_fill_((n <= beams.shortest)[:, None], -torch.inf)
        candidates = _candidates(log_p, beams.running, eos_id, n == beams.longest)
        lost = ~(candidates.score[:, 0] > -torch.inf) & ~beams.done
        length = n.double().pow(self.length_penalty).to(candidates.score)[:, None]
        score = candidates.score[:, :k] / length
        score = score.masked_fill(~candidates.ends[:, :k] | beams.done[:, None], -torch.inf)
        ended = torch.cat((beams.ended, score), 1).topk(k).values
        best, n_token = _kept(beams, candidates, score, t, n)

        score, index = (candidates.score + candidates.ends * EMPTY).topk(k)
        worst = ended[:, -1]
        done = beams.done | ~(score[:, 0] / length[:, 0] > worst)
        if self.early_stopping:
            done |= worst > EMPTY
        parent = candidates.parent.gather(1, index)
        token = candidates.token.gather(1, index)
        history = _extended(beams.history, parent, token, t)
        after = Beams(
            beams.row,
            n,
            beams.shortest,
            beams.longest,
            history,
            score,
            ended,
            best,
            n_token,
            done,
        )
        return after, parent, lost
