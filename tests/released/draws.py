"""Sampling as release 0.1 drew: one uniform number for each token."""

import pytest
import torch
from torch import Tensor

from lslm_lightning.decoding import Sampling


def draw_as_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Sampling` choose the token at which the cumulative distribution exceeds a number."""
    monkeypatch.setattr(Sampling, "random_keys", _uniform)
    monkeypatch.setattr(Sampling, "choose", _choose)


def _uniform(
    search: Sampling, n_row: int, n_step: int, generator: torch.Generator | None = None
) -> Tensor:
    if generator is None and search.seed is not None:
        generator = torch.Generator().manual_seed(search.seed)
    return torch.rand(n_row, n_step, generator=generator)


def _choose(search: Sampling, log_p: Tensor, uniform: Tensor) -> Tensor:
    if search.top_k is not None:
        log_p, tokens = log_p.topk(min(search.top_k, log_p.size(-1)))
    elif search.top_p is not None:
        log_p, tokens = log_p.sort(descending=True)
    else:
        tokens = torch.arange(log_p.size(-1)).expand_as(log_p)
    p = torch.softmax((log_p - log_p.amax(-1, keepdim=True)) / search.temperature, -1)
    if search.top_p is not None:
        p = p.masked_fill(p.cumsum(-1) - p >= search.top_p, 0)
    upto = p.cumsum(-1)
    total = upto[:, -1]
    wanted = torch.minimum(uniform.to(total) * total, total.nextafter(torch.zeros_like(total)))
    choice = torch.searchsorted(upto, wanted[:, None], right=True).clamp(max=p.size(-1) - 1)
    return tokens.gather(1, choice)[:, 0]
