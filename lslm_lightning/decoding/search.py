"""Interface of searches that write tokens one after the other, and their common functions:
forbidding tokens, and dropping finished rows from a batch.

Axes: B sources, A of them still in the batch, k beams, V vocabulary, T time, N = A or A k
hypotheses: rows i k to i k + k - 1 belong to source i.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

Nested: TypeAlias = Any  # a tensor, None, or a tuple of these; batch-first
Step: TypeAlias = Callable[[Tensor, Nested, Nested], tuple[Tensor, Nested]]
"""Function `step(ids (N, t), state, encoder_state) -> (logits (N, V) after the last id, state)`.

`state` is None at the first call; later it has one row for each hypothesis. A state is passed on
only once, with its rows reordered. `encoder_state` has one row for each source.
"""


class Decoded(NamedTuple):
    """Answers of a search, without the prefix.

    With `n_best` above 1 there are B * n_best rows: rows i * n_best to i * n_best + n_best - 1
    belong to source i, the best first. A row with `n_token` 0 is empty, because the search found
    fewer answers.
    """

    ids: Tensor  # (B, T) int64, `eos_id` after the end
    n_token: Tensor  # (B,) int64, `eos_id` included where it was reached
    # (B,) sum of log p under the model; a beam search divides it by its length penalty
    score: Tensor
    log_p: Tensor | None = (
        None  # (B,) that sum without penalty; None where a search does not give it
    )

    def is_cut(self, eos_id: int) -> Tensor:
        """Return a mask (B,) bool, True for answers that reached the maximum length before
        `eos_id`.
        """
        last = (self.n_token[:, None] - 1).clamp(min=0)
        return self.ids.gather(1, last)[:, 0] != eos_id

    def n_best_lists(self, n_best: int) -> list[list[tuple[list[int], float]]]:
        """Return for each source its answers as (new token ids, log p), the best first; the score
        stands for log p where the search gives none.
        """
        scores = self.score if self.log_p is None else self.log_p
        answers = [
            (ids[:n], log_p)
            for ids, n, log_p in zip(
                self.ids.tolist(), self.n_token.tolist(), scores.tolist(), strict=True
            )
        ]
        return [
            [(ids, log_p) for ids, log_p in answers[i : i + n_best] if ids]
            for i in range(0, len(answers), n_best)
        ]


def no_sync(done: bool) -> bool:
    """Return `done`: default of `all_ranks_done` in a single process, which waits for no other
    process.
    """
    return done


class Search(ABC):
    """Base class of searches that write an answer token by token, given the probabilities of the
    next token.

    With `no_repeat_ngram` n above 0, no sequence of n tokens occurs twice in prefix and answer;
    `eos_id` is always allowed.
    """

    no_repeat_ngram: int
    supports_fusion = False  # whether it can use a language model (shallow fusion)
    needs_equal_lengths = False  # whether the prompts of one call must be equally long

    def check_n_best(self, n_best: int) -> None:
        """Check that this search can give `n_best` answers to each source.

        Raises:
            ValueError: `n_best` is out of range for this search.
        """
        if n_best != 1:
            raise ValueError(
                f"n_best={n_best} must be 1 for {type(self).__name__}, which finds one answer; use "
                "Beam or Sampling for several"
            )

    @abstractmethod
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
        """Continue `prefix` until `eos_id`, or for `max_length` new tokens. `eos_id` is not allowed
        among the first `min_length` new tokens.

        Args:
            step: function that gives the logits of the next token; see `Step`.
            prefix: (B, P) int64, the first tokens; they count as history for `no_repeat_ngram`.
            encoder_state: encoder output or other data for `step`, one row for each source.
            prefix_length: (B,) length of each prompt, if they differ: row b begins with `prefix[b,
                :prefix_length[b]]`. Not supported by a search that `needs_equal_lengths`.
            all_ranks_done: called after each step with True if this process is done; returns True
                if all processes are done. Until then, a process that is done repeats steps, so that
                collective operations inside `step` complete.
            generator: random numbers for `Sampling`, instead of its seed.
            n_best: number of answers to each source; see `Decoded`.

        Raises:
            ValueError: a setting is out of range, the model gives NaN, or no token is allowed.
        """


def check_call(prefix: Tensor, max_length: int, min_length: int) -> None:
    """Check the shape of `prefix` and the two lengths of a search.

    Raises:
        ValueError: the shape or a length is out of range.
    """
    if prefix.dim() != 2 or 0 in prefix.shape:
        raise ValueError(
            f"prefix has shape {tuple(prefix.shape)}, but must be (sources, tokens) with at least "
            "one of each; begin with <s>"
        )
    if max_length < 1:
        raise ValueError(f"max_length={max_length} must be at least 1 new token")
    if not 0 <= min_length <= max_length:
        raise ValueError(
            f"min_length={min_length} must be between 0 and max_length={max_length}; lower "
            f"min_length, or raise max_length to {min_length}"
        )


def check_ngram(no_repeat_ngram: int) -> None:
    """Check that the n-gram length is 0 or above.

    Raises:
        ValueError: it is negative.
    """
    if no_repeat_ngram < 0:
        raise ValueError(
            f"no_repeat_ngram={no_repeat_ngram} must be 0 (off) or the length of the sequences "
            "that may not repeat, such as 3"
        )


def reorder(nested: Nested, index: Tensor) -> Nested:
    """Return the rows `index` of every tensor in a nested tuple; each tensor stays on its
    device.
    """
    index_on: dict[torch.device, Tensor] = {}

    def take(part: Nested) -> Nested:
        if part is None:
            return None
        if isinstance(part, Tensor):
            if part.device not in index_on:
                index_on[part.device] = index.to(part.device)
            return part.index_select(0, index_on[part.device])
        rows = map(take, part)
        return part._make(rows) if hasattr(part, "_make") else tuple(rows)

    return take(nested)


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the log-softmax of logits (N, V), in float32 or higher."""
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


BLOCK = 64  # neighbouring tokens of which only the most probable one is compared with others


def block_maxima(log_p: Tensor) -> Tensor:
    """Return the maxima (..., V // BLOCK) of whole blocks of neighbouring tokens.

    On a CPU they are found far faster than `topk` or `argmax` of all tokens.
    """
    n_block = log_p.size(-1) // BLOCK
    whole = log_p[..., : n_block * BLOCK]
    return torch.unflatten(whole, -1, (n_block, BLOCK)).amax(-1)


def most_probable(log_p: Tensor) -> Tensor:
    """Return the token (A,) with the highest log p (A, V) in each row, the first of equal ones."""
    vocab_size = log_p.size(1)
    if not log_p.is_cpu or vocab_size < 4 * BLOCK:
        return log_p.argmax(-1)
    maxima = block_maxima(log_p)
    n_block = maxima.size(1)
    width = n_block * BLOCK
    best = torch.cat((maxima, log_p[:, width:]), 1).argmax(-1)
    first = torch.where(best < n_block, best * BLOCK, best + width - n_block)[:, None]  # (A, 1)
    block = (first + torch.arange(BLOCK)).clamp_(max=vocab_size - 1)
    return first[:, 0] + log_p.gather(1, block).argmax(-1)


def best_sums(log_p: Tensor, running: Tensor, n_best: int) -> tuple[Tensor, Tensor]:
    """Return the n_best largest sums (A, n_best) of the log p of a token and of its hypothesis, in
    decreasing order, and their indices: i V + token for beam i.

    The largest sums are in those blocks of tokens whose maxima are the largest.

    Args:
        log_p: (A, k, V) log p of the next token, or (A, 1, V) of all beams alike. May be
            overwritten.
        running: (A, k) log p of the hypotheses.
    """
    vocab_size = log_p.size(-1)
    if not log_p.is_cpu or vocab_size < n_best * BLOCK:
        in_place = log_p.size(1) == running.size(1)  # fresh memory is slow
        sums = log_p.add_(running[:, :, None]) if in_place else log_p + running[:, :, None]
        score, index = sums.flatten(1).topk(n_best)
        return score, index
    maxima = block_maxima(log_p) + running[:, :, None]  # (A, k, V // BLOCK)
    n_block = maxima.size(2)
    chosen = maxima.flatten(1).topk(n_best, sorted=False).indices  # (A, n_best)
    beam, block = chosen // n_block, chosen % n_block
    offset = torch.arange(BLOCK)
    index = (beam * vocab_size + block * BLOCK)[..., None] + offset  # (A, n_best, BLOCK)
    source = torch.arange(len(running))[:, None]
    row = beam if log_p.size(1) > 1 else torch.zeros_like(beam)
    width = n_block * BLOCK
    blocks = torch.unflatten(log_p[..., :width], -1, (n_block, BLOCK))[source, row, block]
    score = (blocks + running.gather(1, beam)[..., None]).flatten(1)
    index = index.flatten(1)
    if width < vocab_size:  # the last tokens, which fill no block
        last = (log_p[..., width:] + running[:, :, None]).flatten(1)
        tokens = torch.arange(width, vocab_size)
        starts = torch.arange(running.size(1))[:, None] * vocab_size
        score = torch.cat((score, last), 1)
        index = torch.cat((index, (starts + tokens).flatten().expand(len(index), -1)), 1)
    score, order = score.topk(n_best)
    return score, index.gather(1, order)


def forbid_repeats(log_p: Tensor, history: Tensor, n: int, eos_id: int) -> None:
    """Set log_p (N, V) to -inf for tokens that would repeat an n-gram of the history (N, t).
    `eos_id` stays allowed, so that a hypothesis can always end.
    """
    t = history.size(1)
    if not 0 < n <= t:
        return
    grams = history.unfold(1, n, 1)  # (N, t - n + 1, n)
    again = (grams[..., :-1] == history[:, None, t + 1 - n :]).all(-1)
    of_end = log_p[:, eos_id].clone()
    log_p.scatter_(1, grams[..., -1].where(again, eos_id), -torch.inf)
    log_p[:, eos_id] = of_end


def rows_to_keep(done: Tensor) -> Tensor | None:
    """Return the indices (A,) of the rows that are not done; None if less than an eighth is done.

    Dropping rows copies all others. If at least an eighth is dropped each time, all copies together
    are at most eight times as large as the first batch.
    """
    return (~done).nonzero()[:, 0] if 8 * int(done.sum()) >= done.numel() else None


def write_back(whole: NamedTuple, rows: NamedTuple) -> None:
    """Copy the rows that are still in the batch back to `whole`, which has all rows. The first
    field of `rows` (A,) has their indices in `whole`.
    """
    if rows is not whole:
        for all_rows, part in zip(whole[1:], rows[1:], strict=True):
            if part is not all_rows:  # a field that no step changes
                all_rows.index_copy_(0, rows[0], part)


def wait_for_others(
    step: Step, prefix: Tensor, encoder_state: Nested, all_ranks_done: Callable[[bool], bool]
) -> None:
    """Repeat the first step until all processes are done. Each repetition starts without a state,
    so it never runs out of positions.
    """
    while not all_ranks_done(True):
        step(prefix[:, :1], None, encoder_state)


def check_probabilities(lost: Tensor, n_step: int) -> None:
    """Check that every source has a token with a finite probability.

    Args:
        lost: (A,) bool, True for a source without such a token.
        n_step: number of steps so far, for the message.

    Raises:
        ValueError: logits are NaN or infinite, or settings leave no token.
    """
    if lost.any():
        raise ValueError(
            f"after {n_step} steps the model gives no usable probability for {int(lost.sum())} "
            f"of {lost.numel()} sources: NaN or infinite "
            "logits, or min_length and no_repeat_ngram leave no token; check the checkpoint and "
            "the precision, or relax these settings"
        )
