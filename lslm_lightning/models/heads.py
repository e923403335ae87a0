"""From vectors to scores of words. B sources, N rows (k beams a source: N = k * B), T time, S source time, D d_model, V vocabulary."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Built as `head(vocab_size, d_model)`."""

    @abstractmethod
    def forward(
        self,
        y: Tensor,
        embedding: Tensor,
        memory: Tensor | None = None,
        source: Tensor | None = None,
        source_pad: Tensor | None = None,
    ) -> Tensor:
        """Scores (N, T, V) of the next token, of which a softmax gives the distribution.

        Args:
            y: outputs of a backbone (N, T, D).
            embedding: vectors of the tokens (V, D).
            memory: of the encoder (B, S, D); N may be k * B: rows i * k to i * k + k - 1 then belong to source i.
            source: ids (B, S), int64.
            source_pad: (B, S), True where padded.
        """


class TiedProjection(Head):
    """Scores are products with the token vectors themselves. Source: Press and Wolf 2017.

    Args:
        bias: adds one trained number a token.
    """

    def __init__(self, vocab_size: int, d_model: int, bias: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None

    def forward(
        self, y: Tensor, embedding: Tensor, memory: Tensor | None = None, source: Tensor | None = None, source_pad: Tensor | None = None
    ) -> Tensor:
        return F.linear(y, embedding, self.bias)


class FreeProjection(Head):
    """Scores by a matrix of its own."""

    def __init__(self, vocab_size: int, d_model: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None

    def forward(
        self, y: Tensor, embedding: Tensor, memory: Tensor | None = None, source: Tensor | None = None, source_pad: Tensor | None = None
    ) -> Tensor:
        return F.linear(y, self.weight, self.bias)


class PointerGenerator(Head):
    """Log-probabilities of a mixture: write a word of the vocabulary, or copy one of the source.

    p(w) = g softmax(E y)_w + (1 - g) * (attention on the places of the source where w stands). Attention is the head's own, scaled dot
    product over the memory; the gate g sees the output and what was attended to. The tied projection does the writing.

    Source: See et al. 2017, "Get To The Point", equations 8 and 9, without the decoder's input in the gate.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Linear(2 * d_model, 1)
        nn.init.normal_(self.query.weight, std=d_model**-0.5)
        nn.init.zeros_(self.gate.weight)

    def forward(
        self, y: Tensor, embedding: Tensor, memory: Tensor | None = None, source: Tensor | None = None, source_pad: Tensor | None = None
    ) -> Tensor:
        if memory is None or source is None:
            raise ValueError("head=PointerGenerator copies from a source and needs one; choose TiedProjection where n_encoder_layer=0")
        beams = y.reshape(len(memory), -1, y.size(-1))  # (B, k * T, D)
        scores = self.query(beams) @ memory.mT * y.size(-1) ** -0.5  # (B, k * T, S)
        if source_pad is not None:
            scores = scores.masked_fill(source_pad[:, None], torch.finfo(scores.dtype).min)
        attention = scores.softmax(-1)
        gate = self.gate(torch.cat([beams, attention.to(memory.dtype) @ memory], -1))  # (B, k * T, 1)
        write = F.linear(beams, embedding).log_softmax(-1) + F.logsigmoid(gate)  # (B, k * T, V)
        copy = torch.zeros_like(write).scatter_add(-1, source[:, None].expand_as(attention), attention.to(write.dtype))
        copy = copy.clamp_min(torch.finfo(copy.dtype).tiny).log() + F.logsigmoid(-gate)  # a word not in the source: as good as never
        return torch.logaddexp(write, copy).view(*y.shape[:-1], -1)
