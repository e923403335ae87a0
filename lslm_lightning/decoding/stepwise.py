"""Searches that write one token at a time and never revise one: greedy and sampling.

Axes: B sources, A of them still in the batch, V vocabulary, T time, P the longest prompt.
"""

from abc import abstractmethod
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


def steps_between_looks(device: torch.device) -> int:
    """Return after how many steps to check which rows are done: each check makes the host wait for
    an accelerator.
    """
    return 1 if device.type == "cpu" else 8


class _Rows(NamedTuple):
    """Tensors of the answers of the sources that are still in the batch."""

    place: Tensor  # (A,) which source this is
    history: Tensor  # (A, P + max_length) prompt and new tokens
    begin: Tensor  # (A,) length of the prompt
    n_token: Tensor  # (A,) new tokens so far
    score: Tensor  # (A,) their log p
    done: Tensor  # (A,) bool

    def append(self, t: int, token: Tensor, log_p: Tensor, end: int, max_length: int) -> None:
        """Write `token` (A,) at position `t`, except where the prompt goes on or the answer has
        ended.
        """
        in_prompt = self.begin > t
        writing = ~(in_prompt | self.done)
        self.score.add_(log_p.gather(1, token[:, None])[:, 0].where(writing, 0))
        self.n_token.add_(writing)
        written = self.history[:, t].where(in_prompt, token.where(writing, end))
        self.history[:, t] = written
        self.done.logical_or_(writing & ((written == end) | (self.n_token == max_length)))

    def answer(self, end: int) -> Decoded:
        """Return the answers without their prompts."""
        time = torch.arange(int(self.n_token.max()), device=self.history.device)  # (T,)
        ids = self.history.gather(1, self.begin[:, None] + time)
        return Decoded(
            ids.masked_fill(time >= self.n_token[:, None], end),
            self.n_token,
            self.score,
            self.score,
        )


def _first_rows(start: Tensor, start_length: Tensor | None, max_length: int) -> tuple[_Rows, int]:
    """Return the initial rows of all sources, and the length of the shortest prompt."""
    n_source, width = start.shape
    begin = torch.full_like(start[:, 0], width) if start_length is None else start_length.to(start)
    shortest, longest = (int(n) for n in begin.aminmax())
    if shortest < 1 or longest > width:
        raise ValueError(
            f"start_length goes from {shortest} to {longest}, but must be between 1 and the "
            f"width of start, {width}"
        )
    history = start.new_zeros(n_source, longest + max_length)
    history[:, :longest] = start[:, :longest]
    score = torch.zeros(n_source, device=start.device)
    return _Rows(
        torch.arange(n_source).to(start), history, begin, torch.zeros_like(begin), score, begin < 0
    ), shortest


def _best_first(found: Decoded, n_best: int) -> Decoded:
    """Return the same answers with those of each source in decreasing order of log p."""
    order = found.score.view(-1, n_best).sort(dim=1, descending=True, stable=True).indices
    first = torch.arange(0, len(found.score), n_best).to(order)
    ids, n_token, score = reorder(found[:3], (order + first[:, None]).flatten())
    return Decoded(ids, n_token, score, score)


class _Stepwise(Search):
    """Base class of searches that choose the next token of each row by a function of its log p."""

    @abstractmethod
    def _chooser(
        self, start: Tensor, n_step: int, generator: torch.Generator | None
    ) -> Callable[[Tensor, Tensor, int], Tensor]:
        """Return a function `choose(log_p (A, V), row (A,), number of the step) -> token (A,)`."""

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
        n_best: int = 1,
    ) -> Decoded:
        check_call(start, max_length, min_length)
        self.check_n_best(n_best)
        if n_best > 1:  # as many rows a source
            rows_of = torch.arange(len(start)).repeat_interleave(n_best)
            start, shared = reorder((start, shared), rows_of)
            start_length = None if start_length is None else start_length[rows_of]
        rows, first = _first_rows(start, start_length, max_length)
        whole = rows
        mine = shared
        state = None
        ids = start[:, :first]
        last = rows.history.size(1) - 1
        choose = self._chooser(start, last + 1 - first, generator)
        every = steps_between_looks(start.device) if agree is alone else 1
        for t in range(first, last + 1):
            logits, state = step(ids, state, mine)
            log_p = log_probabilities(logits)  # (A, V)
            forbid_repeats(log_p, rows.history[:, :t], self.no_repeat_ngram, end)
            if min_length:
                log_p[:, end].masked_fill_(rows.begin + min_length > t, -torch.inf)
            rows.append(t, choose(log_p, rows.place, t - first), log_p, end, max_length)
            if t < last and (t - first) % every:
                ids = rows.history[:, t, None]
                continue
            done, finite = torch.stack((rows.done, rows.score.isfinite())).cpu()
            refuse_nan(~finite, t + 1 - first)
            if done.all():
                break
            agree(False)
            if (keep := rows_to_keep(done)) is not None:
                write_back(whole, rows)
                rows, state, mine = reorder((rows, state, mine), keep)
            ids = rows.history[:, t, None]
        write_back(whole, rows)
        wait_for_others(step, start, shared, agree)
        found = whole.answer(end)
        return found if n_best == 1 else _best_first(found, n_best)


@dataclass(frozen=True)
class Greedy(_Stepwise):
    """Greedy search: always the most likely next token."""

    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        check_ngram(self.no_repeat_ngram)

    def _chooser(
        self, start: Tensor, n_step: int, generator: torch.Generator | None
    ) -> Callable[[Tensor, Tensor, int], Tensor]:
        return lambda log_p, place, n: log_p.argmax(-1)


@dataclass(frozen=True)
class Sampling(_Stepwise):
    """Sampling from the model's distribution, sharpened by `temperature`, cut to the `top_k` most
    likely tokens and to the fewest that hold `top_p` of the probability.

    The `n_best` answers are drawn independently, so one may occur twice; the one with the highest
    log p under the model comes first.

    One uniform number for each token is drawn beforehand, so that the same seed gives the same
    answers on every device, whichever rows finish early. Each call starts again from `seed`; None
    continues torch's global generator.

    Source: Holtzman et al. 2020, "The curious case of neural text degeneration" (top-p); Fan et al.
    2018 (top-k).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = 0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        check_ngram(self.no_repeat_ngram)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"temperature={self.temperature} must be above 0; 1 leaves the distribution as "
                "it is, and Greedy is the limit at 0"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(
                f"top_k={self.top_k} must be at least 1; leave it out to sample from all tokens"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p={self.top_p} must be above 0 and at most 1; leave it out to sample from "
                "all tokens, or use Greedy"
            )

    def check_n_best(self, n_best: int) -> None:
        if n_best < 1:
            raise ValueError(f"n_best={n_best} must be at least 1 answer")

    def _chooser(
        self, start: Tensor, n_step: int, generator: torch.Generator | None
    ) -> Callable[[Tensor, Tensor, int], Tensor]:
        if generator is None and self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed)
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(len(start), n_step, generator=generator, device=device).to(
            start.device
        )
        return lambda log_p, place, n: self._draw(log_p, uniform[place, n])

    def _draw(self, log_p: Tensor, uniform: Tensor) -> Tensor:
        """Return tokens (A,) at which the cumulative distribution of log_p (A, V) passes `uniform`
        (A,).
        """
        tokens = None
        if self.top_k is not None and self.top_k < log_p.size(-1):
            log_p, tokens = log_p.topk(self.top_k)
        elif self.top_p is not None:
            log_p, tokens = log_p.sort(descending=True)
        p = torch.softmax((log_p - log_p.amax(-1, keepdim=True)) / self.temperature, -1)
        if self.top_p is not None:
            p = p.masked_fill(p.cumsum(-1) - p >= self.top_p, 0)
        upto = p.cumsum(-1)
        total = upto[:, -1]
        # at the total stands a token of no probability
        below_total = total.nextafter(torch.zeros_like(total))
        wanted = torch.minimum(uniform.to(total) * total, below_total)
        choice = torch.searchsorted(upto, wanted[:, None], right=True).clamp(max=p.size(-1) - 1)
        return (choice if tokens is None else tokens.gather(1, choice))[:, 0]
