"""Interface of searches that write tokens one after the other, and what they share: which tokens
are allowed, and how finished rows leave a batch.

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

`state` is None at the first call and has one row a hypothesis; each is passed on once, with its
rows reordered. `encoder_state` has one row a source.
"""


class Decoded(NamedTuple):
    """Answers of a search, without the prefix.

    With `n_best` above 1 there are B * n_best rows: i * n_best to i * n_best + n_best - 1 belong to
    source i, the best first. A row with `n_token` 0 is empty: the search found fewer answers.
    """

    ids: Tensor  # (B, T) int64, `eos_id` after the end
    n_token: Tensor  # (B,) int64, `eos_id` included where it was reached
    # (B,) sum of log p under the model; a beam search divides it by its length penalty
    score: Tensor
    log_p: Tensor | None = (
        None  # (B,) that sum without penalty; None where a search does not give it
    )

    def is_cut(self, eos_id: int) -> Tensor:
        """Return (B,) bool, True where an answer reached the maximum length before `eos_id`."""
        last = (self.n_token[:, None] - 1).clamp(min=0)
        return self.ids.gather(1, last)[:, 0] != eos_id

    def n_best_lists(self, n_best: int) -> list[list[tuple[list[int], float]]]:
        """Return for each source its answers, the best first, as pairs of new token ids and log
        p.
        """
        assert self.log_p is not None
        answers = [
            (ids[:n], log_p)
            for ids, n, log_p in zip(
                self.ids.tolist(), self.n_token.tolist(), self.log_p.tolist(), strict=True
            )
        ]
        return [
            [(ids, log_p) for ids, log_p in answers[i : i + n_best] if ids]
            for i in range(0, len(answers), n_best)
        ]


def no_sync(done: bool) -> bool:
    """Return `done`: the default for a search in a single process, which waits for no other."""
    return done


class Search(ABC):
    """Base class of searches that write an answer token by token, given the probabilities of the
    next token.

    With `no_repeat_ngram` n above 0 no n tokens in a row occur twice, the prefix included; `eos_id`
    is always allowed.
    """

    no_repeat_ngram: int
    supports_fusion = False  # whether it can use a language model (shallow fusion)

    def check_n_best(self, n_best: int) -> None:
        """Check that this search can give `n_best` answers to each source.

        Raises:
            ValueError: it cannot.
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
        """Continue `prefix` until `eos_id`, which is never among the first `min_length` new tokens,
        or for `max_length` new tokens.

        Args:
            prefix: (B, P) int64, the first tokens; they count as history for `no_repeat_ngram`.
            prefix_length: (B,), where prompts differ in length: row b begins with `prefix[b, :
                prefix_length[b]]`. Not for beams.
            all_ranks_done: called after each step with whether this process is done; returns
                whether all processes are. Until then a process that is done keeps stepping, so that
                collective operations inside `step` meet.
            generator: random numbers for Sampling, in place of its seed.
            n_best: number of answers to each source; see `Decoded`.

        Raises:
            ValueError: a setting out of range, NaN from the model, or no token left that is
                allowed.
        """


def check_call(prefix: Tensor, max_length: int, min_length: int) -> None:
    """Check the shape of `prefix` and the two lengths of a search.

    Raises:
        ValueError: one of them is out of range.
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
    """Check that the n-gram length is not negative.

    Raises:
        ValueError: it is.
    """
    if no_repeat_ngram < 0:
        raise ValueError(
            f"no_repeat_ngram={no_repeat_ngram} must be 0 (off) or the length of the sequences "
            "that may not repeat, such as 3"
        )


def reorder(nested: Nested, index: Tensor) -> Nested:
    """Return the rows `index` of every tensor of a nested tuple, each on its own device."""
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


def forbid_repeats(log_p: Tensor, history: Tensor, n: int, eos_id: int) -> None:
    """Write -inf into log_p (N, V) for tokens that would repeat an n-gram of the history (N, t);
    `eos_id` stays allowed, so that a way out is left.
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
    """Return the indices of the rows that are not done (A,), if at least an eighth is done; None
    otherwise.

    Dropping rows copies all that stay. With at least an eighth gone each time, all copies together
    are at most eight times the first batch.
    """
    return (~done).nonzero()[:, 0] if 8 * int(done.sum()) >= done.numel() else None


def write_back(whole: NamedTuple, rows: NamedTuple) -> None:
    """Copy the rows that are in the batch to their rows among all; the first field (A,) says which
    these are.
    """
    if rows is not whole:
        for all_rows, part in zip(whole[1:], rows[1:], strict=True):
            all_rows.index_copy_(0, rows[0], part)


def wait_for_others(
    step: Step, prefix: Tensor, encoder_state: Nested, all_ranks_done: Callable[[bool], bool]
) -> None:
    """Repeat the first step until all processes are done; starting anew each time, it never runs
    out of positions.
    """
    while not all_ranks_done(True):
        step(prefix[:, :1], None, encoder_state)


def check_probabilities(lost: Tensor, n_step: int) -> None:
    """Check that each source (A,) has a token with a probability.

    Raises:
        ValueError: NaN or infinite logits, or settings that leave no token.
    """
    if lost.any():
        raise ValueError(
            f"after {n_step} steps the model gives no usable probability for {int(lost.sum())} "
            f"of {lost.numel()} sources: NaN or infinite "
            "logits, or min_length and no_repeat_ngram leave no token; check the checkpoint and "
            "the precision, or relax these settings"
        )
