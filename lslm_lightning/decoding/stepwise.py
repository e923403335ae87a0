"""Searches that write one token at a time and never revise a token: greedy search and sampling.

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
    check_call,
    check_ngram,
    check_probabilities,
    forbid_repeats,
    log_probabilities,
    most_probable,
    no_sync,
    reorder,
    rows_to_keep,
    wait_for_others,
    write_back,
)


def steps_between_checks(device: torch.device) -> int:
    """Return the number of steps between two checks for finished rows. Each check makes the host
    wait for an accelerator.
    """
    return 1 if device.type == "cpu" else 8


class _Rows(NamedTuple):
    """Answers of the sources that are still in the batch."""

    row: Tensor  # (A,) index of the source
    history: Tensor  # (A, P + max_length) prompt and new tokens
    prompt_length: Tensor  # (A,) length of the prompt
    n_token: Tensor  # (A,) new tokens so far
    score: Tensor  # (A,) their log p
    done: Tensor  # (A,) bool

    def append(self, t: int, token: Tensor, log_p: Tensor, eos_id: int, max_length: int) -> None:
        """Write `token` (A,) at position `t`, except in rows whose prompt is longer or whose answer
        has ended.
        """
        in_prompt = self.prompt_length > t
        writing = ~(in_prompt | self.done)
        self.score.add_(log_p.gather(1, token[:, None])[:, 0].where(writing, 0))
        self.n_token.add_(writing)
        written = self.history[:, t].where(in_prompt, token.where(writing, eos_id))
        self.history[:, t] = written
        self.done.logical_or_(writing & ((written == eos_id) | (self.n_token == max_length)))

    def answer(self, eos_id: int) -> Decoded:
        """Return the answers without their prompts."""
        time = torch.arange(int(self.n_token.max()), device=self.history.device)  # (T,)
        ids = self.history.gather(1, self.prompt_length[:, None] + time)
        return Decoded(
            ids.masked_fill(time >= self.n_token[:, None], eos_id),
            self.n_token,
            self.score,
            self.score,
        )


def _first_rows(prefix: Tensor, prefix_length: Tensor | None, max_length: int) -> tuple[_Rows, int]:
    """Return the initial rows of all sources, and the length of the shortest prompt."""
    n_source, width = prefix.shape
    prompt_length = (
        torch.full_like(prefix[:, 0], width) if prefix_length is None else prefix_length.to(prefix)
    )
    shortest, longest = (int(n) for n in prompt_length.aminmax())
    if shortest < 1 or longest > width:
        raise ValueError(
            f"prefix_length goes from {shortest} to {longest}, but must be between 1 and the "
            f"width of prefix, {width}"
        )
    history = prefix.new_zeros(n_source, longest + max_length)
    history[:, :longest] = prefix[:, :longest]
    score = torch.zeros(n_source, device=prefix.device)
    return _Rows(
        torch.arange(n_source).to(prefix),
        history,
        prompt_length,
        torch.zeros_like(prompt_length),
        score,
        prompt_length < 0,
    ), shortest


def _best_first(decoded: Decoded, n_best: int) -> Decoded:
    """Return the same answers, with the answers to each source sorted by decreasing log p."""
    order = decoded.score.view(-1, n_best).sort(dim=1, descending=True, stable=True).indices
    first = torch.arange(0, len(decoded.score), n_best).to(order)
    ids, n_token, score = reorder(decoded[:3], (order + first[:, None]).flatten())
    return Decoded(ids, n_token, score, score)


class Stepwise(Search):
    """Base class of searches that choose the next token of each row from its log p."""

    @abstractmethod
    def choose(self, log_p: Tensor, key: Tensor | None) -> Tensor:
        """Return the next token (A,) of each row.

        Args:
            log_p: (A, V) log p of the next token.
            key: (A,) random integers, of a search that draws; else None.
        """

    def random_keys(
        self, n_row: int, n_step: int, generator: torch.Generator | None = None
    ) -> Tensor | None:
        """Return the random integers (n_row, n_step) of all steps, for `choose`; None for a search
        that does not draw.
        """
        return None

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
        if n_best > 1:  # n_best rows for each source
            rows_of = torch.arange(len(prefix)).repeat_interleave(n_best)
            prefix, encoder_state = reorder((prefix, encoder_state), rows_of)
            prefix_length = None if prefix_length is None else prefix_length[rows_of]
        rows, first = _first_rows(prefix, prefix_length, max_length)
        whole = rows
        active_source = encoder_state
        state = None
        ids = prefix[:, :first]
        last = rows.history.size(1) - 1
        keys = self.random_keys(len(prefix), last + 1 - first, generator)
        keys = None if keys is None else keys.to(prefix.device)
        every = steps_between_checks(prefix.device) if all_ranks_done is no_sync else 1
        for t in range(first, last + 1):
            logits, state = step(ids, state, active_source)
            log_p = log_probabilities(logits)  # (A, V)
            forbid_repeats(log_p, rows.history[:, :t], self.no_repeat_ngram, eos_id)
            if min_length:
                log_p[:, eos_id].masked_fill_(rows.prompt_length + min_length > t, -torch.inf)
            token = self.choose(log_p, None if keys is None else keys[rows.row, t - first])
            rows.append(t, token, log_p, eos_id, max_length)
            if t < last and (t - first) % every:
                ids = rows.history[:, t, None]
                continue
            done, finite = torch.stack((rows.done, rows.score.isfinite())).cpu()
            check_probabilities(~finite, t + 1 - first)
            if done.all():
                break
            all_ranks_done(False)
            if (keep := rows_to_keep(done)) is not None:
                write_back(whole, rows)
                rows, state, active_source = reorder((rows, state, active_source), keep)
            ids = rows.history[:, t, None]
        write_back(whole, rows)
        wait_for_others(step, prefix, encoder_state, all_ranks_done)
        decoded = whole.answer(eos_id)
        return decoded if n_best == 1 else _best_first(decoded, n_best)


@dataclass(frozen=True)
class Greedy(Stepwise):
    """Greedy search: always chooses the most likely next token.

    Args:
        no_repeat_ngram: no sequence of this many tokens occurs twice; 0 to allow all.
    """

    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        check_ngram(self.no_repeat_ngram)

    def choose(self, log_p: Tensor, key: Tensor | None) -> Tensor:
        return most_probable(log_p)


@dataclass(frozen=True)
class Sampling(Stepwise):
    """Sampling from the distribution of the model. `temperature` scales the logits; `top_k` keeps
    the k most likely tokens; `top_p` keeps the fewest tokens that together have this probability.

    The `n_best` answers are drawn independently, so an answer may occur twice. The answer with the
    highest log p under the model comes first.

    One key for each row and token is drawn in advance. Each candidate gets random noise that
    depends on the key and the candidate alone, and the best sum of log p and noise is chosen
    (Gumbel-max). The same seed thus gives the same answers on every device, whichever rows finish
    early, unless rounding decides between two sums or on the last token of `top_k` or `top_p`. Each
    call starts again from `seed`; None continues torch's global generator.

    Source: Holtzman et al. 2020, "The curious case of neural text degeneration" (top-p); Fan et al.
    2018 (top-k); Maddison et al. 2014, "A* sampling" (Gumbel-max).

    Args:
        temperature: divisor of the logits; below 1 for more likely tokens, above 1 for more varied
            ones.
        top_k: number of tokens to choose from, the most likely ones; null for all.
        top_p: probability of the tokens to choose from, the most likely ones; null for all.
        seed: seed of each call; null to continue torch's global generator.
        no_repeat_ngram: no sequence of this many tokens occurs twice; 0 to allow all.
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

    def random_keys(
        self, n_row: int, n_step: int, generator: torch.Generator | None = None
    ) -> Tensor | None:
        if generator is None and self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed)
        device = "cpu" if generator is None else generator.device
        return torch.randint(2**63 - 1, (n_row, n_step), generator=generator, device=device)

    def choose(self, log_p: Tensor, key: Tensor | None) -> Tensor:
        assert key is not None
        log_p = (log_p - log_p.amax(-1, keepdim=True)) / self.temperature
        tokens = None
        if self.top_k is not None and self.top_k < log_p.size(-1):
            log_p, tokens = log_p.topk(self.top_k)
        if self.top_p is not None and self.top_p < 1:
            log_p, order = _nucleus(log_p, self.top_p)
            tokens = order if tokens is None else tokens.gather(1, order)
        if tokens is None:
            return _drawn(log_p, key, torch.arange(log_p.size(-1), device=log_p.device))
        return tokens.gather(1, _drawn(log_p, key, tokens)[:, None])[:, 0]


def _nucleus(log_p: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Return the log p (A, K) of the fewest tokens that together have probability `top_p`, the most
    likely first, and their indices (A, K). The log p of a token beyond these is minus infinity.

    Args:
        log_p: (A, V) log p, up to a constant for each row; at most 0.
        top_p: share of the whole probability.
    """
    n_token = log_p.size(-1)
    total = log_p.exp().sum(-1, keepdim=True)
    # few tokens mostly suffice; a GPU sorts all of them faster than its answer can be waited for
    for n in (256, n_token) if log_p.is_cpu and n_token > 256 else (n_token,):
        found, order = log_p.topk(n) if n < n_token else log_p.sort(descending=True)
        p = found.exp() / total
        upto = p.cumsum(-1)
        if n < n_token and bool((upto[:, -1] >= top_p).all()):
            break
    return found.masked_fill(upto - p >= top_p, -torch.inf), order


def _drawn(log_p: Tensor, key: Tensor, tokens: Tensor) -> Tensor:
    """Return the index (A,) of a token of each row, drawn with the probabilities of log_p.

    Args:
        log_p: (A, V) log p, up to a constant for each row.
        key: (A,) random integers.
        tokens: ids (A, V) or (V,) of the tokens.
    """
    low, high = key.to(torch.int32)[:, None], (key >> 32).to(torch.int32)[:, None]
    bits = _mixed(_mixed(tokens.to(torch.int32) * _GOLDEN + low) + high)
    uniform = (bits >> 1 & 2**31 - 1).to(log_p.dtype).add_(0.5).mul_(2**-31)
    exponential = uniform.clamp_(max=1 - 2**-24).neg_().log1p_().neg_()  # 1 has no logarithm
    return (log_p - exponential.log_()).argmax(-1)


_GOLDEN = 0x9E3779B9 - 2**32  # 2^32 divided by the golden ratio, as a signed number


def _mixed(bits: Tensor) -> Tensor:
    """Return 32-bit integers in which each bit depends on every bit of those given.

    Source: Wellons 2018, "Prospecting for hash functions" (lowbias32).
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        above = (bits >> shift).bitwise_and_((1 << 32 - shift) - 1)  # >> keeps the sign
        bits = above.bitwise_xor_(bits).mul_(factor)
    return bits ^ (bits >> 16 & 0xFFFF)
