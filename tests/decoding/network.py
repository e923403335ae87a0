"""Cheap random model to search with."""

import torch
from torch import Tensor

from lslm_lightning.decoding import Decoded

END = 2


class Network:
    """Random recurrent network as a step: its state is a vector for each hypothesis, its encoder
    state a vector for each source.
    """

    def __init__(self, vocab_size: int = 9, width: int = 16, end_bias: float = 0.0) -> None:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.double)

        self.vectors = normal(vocab_size, width)
        self.mix = normal(width, width) / width**0.5
        self.out = normal(width, vocab_size)
        self.bias = torch.zeros(vocab_size, dtype=torch.double)
        self.bias[END] = end_bias
        self.rows: list[int] = []  # of each call

    def __call__(
        self, ids: Tensor, state: tuple[Tensor] | None, shared: Tensor
    ) -> tuple[Tensor, tuple[Tensor]]:
        source = shared.repeat_interleave(len(ids) // len(shared), 0)
        h = torch.zeros_like(source) if state is None else state[0]
        for token in ids.T:
            h = torch.tanh(h @ self.mix + self.vectors[token] + source)
        self.rows.append(len(ids))
        return h @ self.out + self.bias, (h,)

    def log_p(self, ids: list[int], source: Tensor) -> Tensor:
        """Return log p (V,) of the next token after `ids`."""
        return self(torch.tensor([ids]), None, source[None])[0][0].log_softmax(-1)


def question(n_source: int = 6, width: int = 16) -> tuple[Tensor, Tensor]:
    """Return prefixes (B, 1) and sources (B, D)."""
    return torch.ones(n_source, 1, dtype=torch.long), torch.randn(
        n_source, width, dtype=torch.double
    )


def answers(found: Decoded) -> list[list[int]]:
    return [ids[:n].tolist() for ids, n in zip(found.ids, found.n_token, strict=True)]
