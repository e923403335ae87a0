"""Output heads: from decoder outputs to scores of tokens.

Axes: B sources, N rows (k beams a source: N = k * B), T time, S source time, D d_model, V
vocabulary.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.piecewise import piecewise_nats


class Source(NamedTuple):
    """Token ids of an encoder's input, and the encoder's output for them."""

    memory: Tensor  # (B, S, D)
    ids: Tensor  # (B, S) int64
    pad: Tensor | None = None  # (B, S) bool, True where padded


class Head(nn.Module, ABC):
    """Output head: maps decoder outputs to scores of the next token; built as `head(vocab_size,
    d_model)`.
    """

    @abstractmethod
    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        """Return scores (N, T, V) of the next token; their softmax is its distribution.

        Args:
            y: outputs of a backbone (N, T, D).
            embedding: vectors of the tokens (V, D).
            source: input and output of the encoder; N may be k * B: rows i * k to i * k + k - 1
                then belong to source i.
        """

    def nats(
        self,
        y: Tensor,
        embedding: Tensor,
        target: Tensor,
        pad_id: int,
        label_smoothing: float = 0.0,
        source: Source | None = None,
    ) -> Tensor:
        """Return the sum of minus log p of `target` (N, T) int64, positions with `pad_id` left out.

        With `label_smoothing` e, the target distribution is 1 - e on the target token and e spread
        evenly over the vocabulary (Szegedy et al. 2016).
        """
        logits = self(y, embedding, source)
        return cross_entropy_sum(logits, target, pad_id, label_smoothing)


class Projection(Head):
    """Base class of heads with scores W y + b, which depend on no source: padding can be left out
    before they are computed.
    """

    @abstractmethod
    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the matrix W (V, D) and the bias b (V,), or None where there is no bias."""

    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        return F.linear(y, *self.vectors(embedding))

    def nats(
        self,
        y: Tensor,
        embedding: Tensor,
        target: Tensor,
        pad_id: int,
        label_smoothing: float = 0.0,
        source: Source | None = None,
    ) -> Tensor:
        # selecting rows would make the host wait for the device, and padding is cheap
        if y.device.type != "cpu":
            return cross_entropy_sum(self(y, embedding), target, pad_id, label_smoothing)
        real = target != pad_id
        y, target = (y.flatten(0, -2), target.flatten()) if real.all() else (y[real], target[real])
        return piecewise_nats(y, *self.vectors(embedding), target, label_smoothing)


class TiedHead(Projection):
    """Head whose matrix is the token embedding itself (weight tying). Source: Press and Wolf 2017.

    Args:
        bias: add one trained number for each token.
    """

    def __init__(self, vocab_size: int, d_model: int, bias: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None

    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        return embedding, self.bias


class LinearHead(Projection):
    """Linear head with a matrix of its own, not tied to the embedding.

    Args:
        bias: add one trained number for each token.
    """

    def __init__(self, vocab_size: int, d_model: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None

    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.weight, self.bias


class PointerGenerator(Head):
    """Pointer-generator head: log-probabilities of a mixture of generating a token of the
    vocabulary and copying one of the source.

    p(w) = g softmax(E y)_w + (1 - g) * (sum of attention on the source positions that hold w). The
    attention is the head's own, scaled dot product over the memory; the gate g depends on the
    output and the attention context. Generation uses the token embedding E, as in `TiedHead`.

    Source: See et al. 2017, "Get To The Point", equations 8 and 9, without the decoder's input in
    the gate.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Linear(2 * d_model, 1)
        nn.init.normal_(self.query.weight, std=d_model**-0.5)
        nn.init.zeros_(self.gate.weight)

    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        source = required(source)
        beams, copied, gate = self._attend_to_source(y, source)
        gate = upcast_to_float32(gate)
        # (B, k * T, V)
        write = upcast_to_float32(F.linear(beams, embedding)).log_softmax(-1) + F.logsigmoid(gate)
        copy = torch.zeros_like(write).scatter_add(
            -1, source.ids[:, None].expand_as(copied), copied
        )
        # tokens not in the source have a probability of almost 0
        copy = copy.clamp_min(torch.finfo(copy.dtype).tiny).log() + F.logsigmoid(-gate)
        return torch.logaddexp(write, copy).view(*y.shape[:-1], -1)

    def nats(
        self,
        y: Tensor,
        embedding: Tensor,
        target: Tensor,
        pad_id: int,
        label_smoothing: float = 0.0,
        source: Source | None = None,
    ) -> Tensor:
        """Return the sum of minus log p of `target`, as in `Head`, without computing the mixture
        for the whole vocabulary.

        Label smoothing applies to the generating distribution only, not to copying.
        """
        source = required(source)
        beams, copied, gate = self._attend_to_source(y, source)
        real = target != pad_id
        # (n, V), (n, 1)
        logits = upcast_to_float32(F.linear(beams[real], embedding))
        gate = upcast_to_float32(gate[real])
        write = logits - logits.logsumexp(-1, keepdim=True) + F.logsigmoid(gate)
        # (n, 1)
        copy = (copied * (source.ids[:, None] == target[..., None])).sum(-1)[real][:, None]
        copy = copy.clamp_min(torch.finfo(copy.dtype).tiny).log() + F.logsigmoid(-gate)
        target_log_p = torch.logaddexp(write.gather(-1, target[real][:, None]), copy)
        return -(1 - label_smoothing) * target_log_p.sum() - label_smoothing * write.mean(-1).sum()

    def _attend_to_source(self, y: Tensor, source: Source) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs grouped by source (B, k * T, D), their attention weights (B, k * T, S)
        over it, and the logit of the gate (B, k * T, 1).
        """
        beams = y.reshape(len(source.memory), -1, y.size(-1))
        scores = self.query(beams) @ source.memory.mT * y.size(-1) ** -0.5
        if source.pad is not None:
            scores = scores.masked_fill(source.pad[:, None], torch.finfo(scores.dtype).min)
        attention = upcast_to_float32(scores).softmax(-1)
        return (
            beams,
            attention,
            self.gate(torch.cat([beams, attention.to(source.memory.dtype) @ source.memory], -1)),
        )


def required(source: Source | None) -> Source:
    """Return the source of a pointer-generator head.

    Raises:
        ValueError: there is none.
    """
    if source is None:
        raise ValueError(
            "head=PointerGenerator copies from a source and needs one; choose TiedHead "
            "where n_encoder_layer=0"
        )
    return source


def upcast_to_float32(x: Tensor) -> Tensor:
    """Return x in float32, or unchanged where its precision is higher."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cross_entropy_sum(
    logits: Tensor, target: Tensor, pad_id: int, label_smoothing: float = 0.0
) -> Tensor:
    """Return the summed cross-entropy in nats of `target` (...) int64 under `logits` (..., V),
    padding left out.
    """
    return F.cross_entropy(
        upcast_to_float32(logits).flatten(0, -2),
        target.flatten(),
        ignore_index=pad_id,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
