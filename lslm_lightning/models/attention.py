"""Multi-head attention with a key-value cache and optional recording of attention weights.

Axes: N rows, B sources (N = k * B for k beams per source), T query positions, S key positions, D
d_model, H n_head, G n_kv_head, K d_k, V d_v.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.linear import PaddedLinear
from lslm_lightning.models.positions import Rotation, rotate

N_FEW = 64  # keys

KeyValue: TypeAlias = tuple[Tensor, Tensor]  # (N, G, S, K), (N, G, S, V)


class AttentionContext(NamedTuple):
    """Positions, rotation and mask of one forward pass, shared by all self-attention layers."""

    positions: Tensor  # of the T inputs, (T,) for all rows alike or (N, T)
    length: int  # number of positions, cached ones included, in the longest row
    rotation: Rotation | None  # rotates queries and keys
    # broadcasts to (N, H, T, S): bool, True where a query sees a key, or float, added to the scores
    mask: Tensor | None
    causal: bool  # with no past and no mask: query t sees keys 0 to t


class Attention(nn.Module):
    """Base class of self-attention and cross-attention: scaled dot-product attention in parallel
    heads, softmax(Q K^T / sqrt(d_k)) V.

    The linear map `query` has n_head * d_k outputs, `key` n_kv_head * d_k, and `value` n_kv_head *
    d_v; `output` maps n_head * d_v inputs back to d_model. Each key-value head serves n_head /
    n_kv_head neighbouring query heads. Attention weights have no dropout, which would rule out
    fused kernels. The number of heads is taken from tensor shapes, because a process holds only
    some of them under tensor parallelism.

    Source: Vaswani et al. 2017, section 3.2; grouped queries: Ainslie et al. 2023.
    """

    role = "self"
    # layers to split under tensor parallelism, see `models.sharding`
    columns = ("query", "key", "value")
    rows = ("output",)

    def __init__(
        self, d_model: int, n_head: int, n_kv_head: int, d_k: int, d_v: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.n_head = n_head
        self.n_kv_head = n_kv_head
        self.d_k = d_k
        self.d_v = d_v
        self.first_head = 0  # index of the first head computed by this process
        self.query = PaddedLinear(d_model, n_head * d_k, bias=bias)
        self.key = PaddedLinear(d_model, n_kv_head * d_k, bias=bias)
        self.value = PaddedLinear(d_model, n_kv_head * d_v, bias=bias)
        self.output = PaddedLinear(n_head * d_v, d_model, bias=bias)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        """Return the attention output (N, T, D) after the output projection.

        Args:
            query: (N, H, T, K).
            key: (N, G, S, K).
            value: (N, G, S, V).
            mask: broadcasts to (N, H, T, S): bool, True where a query sees a key, or float, added
                to the scores.
            causal: without a mask, query t sees keys 0 to t.
        """
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
            if mask.size(1) > query.size(1):  # a bias for all heads, of which this process has some
                mask = mask.narrow(1, self.first_head, query.size(1))
        if _record is not None or prefers_unfused(query, key):
            # (N, H, T, V), (N, H, T, S)
            mixed, weights = unfused_attention(query, key, value, mask, causal)
            if _record is not None:
                record(self.role, weights)
        else:
            mixed = fused_attention(query, key, value, mask, causal)
        y: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return y


class SelfAttention(Attention):
    """Self-attention among the positions of one sequence, with an optional key-value cache."""

    def __init__(
        self,
        d_model: int,
        n_head: int,
        n_kv_head: int,
        d_k: int,
        d_v: int,
        bias: bool = True,
        role: str = "self",
    ) -> None:
        super().__init__(d_model, n_head, n_kv_head, d_k, d_v, bias)
        self.role = role

    def forward(
        self, x: Tensor, context: AttentionContext, cache: KeyValue | None = None
    ) -> tuple[Tensor, KeyValue]:
        """Return the attention output (N, T, D) for x (N, T, D), and the cache extended by the keys
        and values of x.

        Args:
            context: positions and mask of x.
            cache: keys and values of earlier positions; None for none.
        """
        # (N, T, H, K), (N, T, G, K)
        query = self.query(x).unflatten(-1, (-1, self.d_k))
        key = self.key(x).unflatten(-1, (-1, self.d_k))
        if context.rotation is not None:
            query = rotate(query, context.rotation)
            key = rotate(key, context.rotation)
        query = query.transpose(1, 2)
        key = key.transpose(1, 2)
        value = self.value(x).unflatten(-1, (-1, self.d_v)).transpose(1, 2)  # (N, G, T, V)
        if cache is None:
            return self.attend(query, key, value, context.mask, context.causal), (key, value)
        keys = append(cache[0], key, context)
        values = append(cache[1], value, context)
        n = context.length
        y = self.attend(query, keys[:, :, :n], values[:, :, :n], context.mask)
        return y, (keys, values)


class CrossAttention(Attention):
    """Attention from decoder positions to the encoder output ("memory") of their source.

    All beams of a source share its keys and values. The positions of all beams are treated as
    queries of one sequence.
    """

    role = "cross"

    def precompute_cross_attention(self, memory: Tensor) -> KeyValue:
        """Return the keys (B, G, S, K) and values (B, G, S, V) of an encoder output (B, S, D)."""
        # (B, S, G, .)
        key = self.key(memory).unflatten(-1, (-1, self.d_k))
        value = self.value(memory).unflatten(-1, (-1, self.d_v))
        return key.transpose(1, 2), value.transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor | KeyValue, mask: Tensor | None) -> Tensor:
        """Return the attention output (N, T, D) for queries x (N, T, D).

        Args:
            memory: encoder output (B, S, D), or its keys and values from
                `precompute_cross_attention`.
            mask: (B, 1, 1, S), True where a key may be attended to; None for everywhere.
        """
        key, value = (
            self.precompute_cross_attention(memory) if isinstance(memory, Tensor) else memory
        )
        beams = x.reshape(key.size(0), -1, x.size(-1))  # (B, k * T, D)
        query = self.query(beams).unflatten(-1, (-1, self.d_k)).transpose(1, 2)  # (B, H, k * T, K)
        return self.attend(query, key, value, mask).view_as(x)


def prefers_unfused(query: Tensor, key: Tensor) -> bool:
    """Return whether separate matrix products are faster than a fused kernel. This holds in
    bfloat16 on a CPU with 65 to 512 keys.

    Measured forward and backward with 128 and 1024 keys: 16 and 199 ms fused, 6 and 226 ms unfused.
    In float32 the fused kernel is never much slower, see `fused_attention`.
    """
    return is_bfloat16_on_cpu(query) and N_FEW < key.size(2) <= 512


def is_bfloat16_on_cpu(query: Tensor) -> bool:
    """Return whether attention is computed where torch's fused kernel is slow."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> Tensor:
    """Compute attention by a fused kernel; return the output (N, H, T, V). In bfloat16 on a CPU,
    with few keys, it computes in float32.

    Measured forward and backward for 64 rows of 15 queries and keys: 21 ms in bfloat16, 3.2 ms in
    float32, and 3.1 ms by separate products, for which oneDNN needs another 3 ms where it has not
    met a shape before. Few batches of sentences have the shape of an earlier one.

    Args:
        mask: as for `unfused_attention`.
        causal: query t sees keys 0 to t; replaces `mask`.
    """
    gqa = query.size(1) != key.size(1)
    if not is_bfloat16_on_cpu(query) or key.size(2) > N_FEW:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=gqa
        )
    with torch.autocast("cpu", enabled=False):
        query, key, value = (each.float() for each in (query, key, value))
        if mask is not None and mask.is_floating_point():
            mask = mask.float()
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=gqa
        ).bfloat16()


def unfused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor]:
    """Compute attention without a fused kernel; return the output (N, H, T, V) and the weights (N,
    H, T, S).

    Args:
        mask: broadcasts to (N, H, T, S): bool, True where a query sees a key, or float, added to
            the scores.
        causal: query t sees keys 0 to t; replaces `mask`.
    """
    group = query.size(1) // key.size(1)
    if group > 1:
        key = key.repeat_interleave(group, 1)
        value = value.repeat_interleave(group, 1)
    scores = (query * query.size(-1) ** -0.5) @ key.mT  # (N, H, T, S)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = (
            scores + mask
            if mask.is_floating_point()
            else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        )
    weights = scores.softmax(-1)
    return weights.to(value.dtype) @ value, weights


def append(buffer: Tensor, new: Tensor, context: AttentionContext) -> Tensor:
    """Return a cache buffer with `new` written at the positions of the context.

    The result is `buffer` itself if it has room, otherwise a copy of at least twice the length.
    While gradients are recorded it is always a copy, because autograd may still need the old
    buffer.

    Args:
        buffer: (N, G, C, K) keys or values, of which at most C positions are in use.
        new: (N, G, T, K) keys or values of the new positions.
    """
    if torch.compiler.is_exporting():  # a graph has no buffers with room
        return torch.cat([buffer, new], 2)
    if context.length > buffer.size(2) or (
        torch.is_grad_enabled() and (buffer.requires_grad or new.requires_grad)
    ):
        grown = buffer.new_zeros(
            *buffer.shape[:2], max(context.length, 2 * buffer.size(2), 16), buffer.size(3)
        )
        grown[:, :, : buffer.size(2)] = buffer
        buffer = grown
    if context.positions.dim() == 1:
        buffer[:, :, context.length - new.size(2) : context.length] = new
    else:
        rows = torch.arange(len(new), device=new.device)[:, None]
        buffer[rows, :, context.positions] = new.transpose(1, 2).to(buffer.dtype)  # (N, T, G, K)
    return buffer


@dataclass
class AttentionRecord:
    """Recorded attention weights by role, in order of computation: one tensor (B, H, T, S) for each
    layer and call. For k beams per source it is (B, H, k * T, S).
    """

    encoder: list[Tensor] = field(default_factory=list)
    self: list[Tensor] = field(default_factory=list)
    cross: list[Tensor] = field(default_factory=list)


_record: AttentionRecord | None = None


def record(role: str, weights: Tensor) -> None:
    """Append attention weights (B, H, T, S) to the list `role` of the active record, if there is
    one.
    """
    if _record is not None:
        getattr(_record, role).append(weights.detach())


@contextmanager
def record_attention() -> Iterator[AttentionRecord]:
    """Record the weights of all attention computed inside this context, for plots.

    Attention is slower inside the context, since it is not fused. Outside, recording has no cost.
    """
    global _record
    before = _record
    _record = AttentionRecord()
    try:
        yield _record
    finally:
        _record = before
