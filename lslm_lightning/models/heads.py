"""Output heads, which map decoder outputs to scores of tokens.

Axes: B sources, N rows (N = k * B for k beams per source), T time, S source time, D d_model, V
vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.linear import PaddedLinear, linear
from lslm_lightning.models.piecewise import piecewise_nats

BLOCKED = -10_000.0  # score of a token that is never written; fits into float16


class Source(NamedTuple):
    """Input of the encoder as token ids, and the encoder output."""

    memory: Tensor  # (B, S, D)
    ids: Tensor  # (B, S) int64
    pad: Tensor | None = None  # (B, S) bool, True where padded


class Head(nn.Module, ABC):
    """Base class of output heads, which map decoder outputs to scores of the next token. Called
    with (vocab_size, d_model).

    Args:
        vocab_size: number of tokens; given by the task.
        d_model: size of the vectors between layers; given by the task.
    """

    @abstractmethod
    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        """Return scores (N, T, V) of the next token. Their softmax is its distribution.

        Args:
            y: outputs of a backbone (N, T, D).
            embedding: vectors of the tokens (V, D).
            source: input and output of the encoder. N may be k * B: rows i * k to i * k + k - 1
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
        """Return minus log p of the `target` tokens, summed over all positions except padding.

        Args:
            y: outputs of a backbone (N, T, D).
            embedding: vectors of the tokens (V, D).
            target: (N, T) int64 token ids.
            pad_id: id of padding in `target`.
            label_smoothing: probability e that the target distribution spreads evenly over the
                vocabulary; the target token has 1 - e (Szegedy et al. 2016).
            source: as in `forward`.
        """
        logits = self(y, embedding, source)
        return cross_entropy_sum(logits, target, pad_id, label_smoothing)


class Projection(Head):
    """Base class of heads whose scores are W y + b. They need no source, so padding can be left out
    before scores are computed.
    """

    blocked: Tensor | None

    def __init__(self, vocab_size: int, bias: bool, blocked_ids: Sequence[int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None
        self.blocked_ids = tuple(blocked_ids)
        if any(not 0 <= index < vocab_size for index in self.blocked_ids):
            raise ValueError(
                f"model.head.blocked_ids={list(blocked_ids)} must be ids of the vocabulary, from 0 "
                f"to {vocab_size - 1}"
            )
        blocked = torch.zeros(vocab_size)
        blocked[list(self.blocked_ids)] = BLOCKED
        self.register_buffer("blocked", blocked if self.blocked_ids else None, persistent=False)

    @property
    def offsets(self) -> Tensor | None:
        """Number (V,) that is added to the score of each token; None for none."""
        if self.bias is None or self.blocked is None:
            return self.blocked if self.bias is None else self.bias
        return self.bias + self.blocked

    @abstractmethod
    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the matrix W (V, D) and the bias b (V,), or None for no bias."""

    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        return linear(y, *self.vectors(embedding))

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
        return piecewise_nats(
            y.flatten(0, -2),
            *self.vectors(embedding),
            target.flatten(),
            label_smoothing,
            pad_id,
        )


class TiedHead(Projection):
    """Head whose matrix is the token embedding (weight tying). Source: Press and Wolf 2017.

    Args:
        bias: add a trained number to the score of each token.
        blocked_ids: tokens that are never written: their scores are lowered by a fixed number.
    """

    def __init__(
        self, vocab_size: int, d_model: int, bias: bool = False, blocked_ids: Sequence[int] = ()
    ) -> None:
        super().__init__(vocab_size, bias, blocked_ids)

    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        return embedding, self.offsets


class LinearHead(Projection):
    """Linear head with its own matrix, independent of the token embedding.

    Args:
        bias: add a trained number to the score of each token.
        blocked_ids: tokens that are never written: their scores are lowered by a fixed number.
    """

    def __init__(
        self, vocab_size: int, d_model: int, bias: bool = False, blocked_ids: Sequence[int] = ()
    ) -> None:
        super().__init__(vocab_size, bias, blocked_ids)
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)

    def vectors(self, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.weight, self.offsets


class PointerGenerator(Head):
    """Pointer-generator head: mixture of generating a token of the vocabulary and copying a token
    of the source. Scores are log probabilities.

    p(w) = g softmax(E y)_w + (1 - g) * (sum of attention on the source positions that hold w), with
    the token embedding E. The head has its own scaled dot-product attention to the encoder output.
    The gate g depends on the output y and on the attention context.

    Source: See et al. 2017, "Get To The Point", equations 8 and 9, without the decoder's input in
    the gate.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.query = PaddedLinear(d_model, d_model, bias=False)
        self.gate = nn.Linear(2 * d_model, 1)
        nn.init.normal_(self.query.weight, std=d_model**-0.5)
        nn.init.zeros_(self.gate.weight)

    def forward(self, y: Tensor, embedding: Tensor, source: Source | None = None) -> Tensor:
        source = required(source)
        beams, copied, gate = self._attend_to_source(y, source)
        gate = upcast_to_float32(gate)
        # (B, k * T, V)
        write = upcast_to_float32(linear(beams, embedding)).log_softmax(-1) + F.logsigmoid(gate)
        copy = self.sum_by_token(copied, source.ids, write.size(-1))
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
        """Return minus log p of `target`, summed as in `Head`, without computing the mixture for
        the whole vocabulary.

        Label smoothing applies to generating only, not to copying.
        """
        source = required(source)
        beams, copied, gate = self._attend_to_source(y, source)
        real = target != pad_id
        # (n, V), (n, 1)
        logits = upcast_to_float32(linear(beams[real], embedding))
        gate = upcast_to_float32(gate[real])
        write = logits - logits.logsumexp(-1, keepdim=True) + F.logsigmoid(gate)
        # (n, 1)
        copy = (copied * (source.ids[:, None] == target[..., None])).sum(-1)[real][:, None]
        copy = copy.clamp_min(torch.finfo(copy.dtype).tiny).log() + F.logsigmoid(-gate)
        target_log_p = torch.logaddexp(write.gather(-1, target[real][:, None]), copy)
        return -(1 - label_smoothing) * target_log_p.sum() - label_smoothing * write.mean(-1).sum()

    def sum_by_token(self, copied: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
        """Return the sums (B, N, V) of the weights `copied` (B, N, S) of source positions, whose
        tokens are `ids` (B, S), for each token of the vocabulary.
        """
        sums = copied.new_zeros(*copied.shape[:-1], vocab_size)
        return sums.scatter_add(-1, ids[:, None].expand_as(copied), copied)

    def _attend_to_source(self, y: Tensor, source: Source) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs grouped by source (B, k * T, D), their attention weights on the source
        (B, k * T, S), and the logit of the gate (B, k * T, 1).
        """
        beams = y.reshape(source.memory.size(0), -1, y.size(-1))
        # not `.mT`, which a traced loop takes for a second input with the same values
        scores = self.query(beams) @ source.memory.transpose(1, 2) * y.size(-1) ** -0.5
        if source.pad is not None:
            scores = scores.masked_fill(source.pad[:, None], torch.finfo(scores.dtype).min)
        attention = upcast_to_float32(scores).softmax(-1)
        return (
            beams,
            attention,
            self.gate(torch.cat([beams, attention.to(source.memory.dtype) @ source.memory], -1)),
        )


def required(source: Source | None) -> Source:
    """Return `source`, which a pointer-generator head needs.

    Raises:
        ValueError: `source` is None.
    """
    if source is None:
        raise ValueError(
            "head=PointerGenerator copies from a source and needs one; choose TiedHead "
            "where n_encoder_layer=0"
        )
    return source


def upcast_to_float32(x: Tensor) -> Tensor:
    """Return x in float32, or unchanged if its precision is higher."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cross_entropy_sum(
    logits: Tensor, target: Tensor, pad_id: int, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy in nats of `target` (...) int64 under `logits` (..., V), summed over
    all positions except padding.
    """
    return F.cross_entropy(
        upcast_to_float32(logits).flatten(0, -2),
        target.flatten(),
        ignore_index=pad_id,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
