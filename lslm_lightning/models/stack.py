"""Transformer layers and stacks of layers.

Axes: N rows, B sources (N = k * B for k beams per source), T time, S source time, D d_model, H
n_head.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lslm_lightning.models.attention import (
    AttentionContext,
    CrossAttention,
    KeyValue,
    SelfAttention,
)
from lslm_lightning.models.dropout import Dropout
from lslm_lightning.models.positions import Position

# added to a score, it makes an attention weight 0; infinity would give NaN for a source that is all
# padding
BLOCKED = -1e30


class Layer(nn.Module):
    """Transformer layer: self-attention, optional cross-attention, and a feed-forward layer, each
    with a residual connection.
    """

    def __init__(
        self,
        self_attention: SelfAttention,
        cross_attention: CrossAttention | None,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        norm_first: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.self_norm = norm()
        self.cross_norm = norm() if cross_attention else None
        self.feed_forward_norm = norm()
        self.norm_first = norm_first
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        cache: KeyValue | None = None,
        memory: Tensor | KeyValue | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue]:
        """Return the output (N, T, D) of the layer for x (N, T, D), and the cache extended by the
        keys and values of x.

        Args:
            context: positions and mask of x.
            cache: keys and values of earlier positions; None for none.
            memory: encoder output (B, S, D), or its keys and values; None without cross-attention.
            memory_mask: (B, 1, 1, S), True where the source is not padded.
        """
        y, cache = self.self_attention(self.branch_input(x, self.self_norm), context, cache)
        x = self.add_branch(x, y, self.self_norm)
        if self.cross_attention is not None:
            assert self.cross_norm is not None
            y = self.cross_attention(self.branch_input(x, self.cross_norm), memory, memory_mask)
            x = self.add_branch(x, y, self.cross_norm)
        y = self.feed_forward(self.branch_input(x, self.feed_forward_norm))
        return self.add_branch(x, y, self.feed_forward_norm), cache

    def branch_input(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Return the input of a branch: x, normalized if `norm_first`."""
        return norm(x) if self.norm_first else x

    def add_branch(self, x: Tensor, y: Tensor, norm: nn.Module) -> Tensor:
        """Return x plus the output y of a branch after dropout, normalized unless `norm_first`."""
        x = x + self.dropout(y)
        return x if self.norm_first else norm(x)


class Stack(nn.Module):
    """Stack of Transformer layers with a positional encoding, dropout of the inputs, and a norm
    before (`first`) and after (`last`) the layers.
    """

    def __init__(
        self,
        layers: list[Layer],
        position: Position,
        first: nn.Module,
        last: nn.Module,
        dropout: float,
        activation_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.position = position
        self.first = first
        self.last = last
        self.dropout = Dropout(dropout)
        self.activation_checkpointing = activation_checkpointing
        self.initialize()

    def initialize(self) -> None:
        """Initialize all linear layers so that they keep the variance of their inputs (LeCun).

        Layers called `output`, which end a branch, are scaled down: each branch adds 1 / (number of
        branches) to the variance of the residual stream. Source: LeCun et al. 1998, section 4.6;
        the scaling by depth is that of GPT-2.
        """
        n_branch = sum(2 + (layer.cross_attention is not None) for layer in self.layers)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                scale = n_branch**-0.5 if name.endswith("output") else 1.0
                nn.init.normal_(module.weight, std=scale * module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def cross_attentions(self) -> list[CrossAttention]:
        """Return the cross-attention of each layer; an empty list if there is no encoder."""
        found = [layer.cross_attention for layer in self.layers]
        return [attention for attention in found if isinstance(attention, CrossAttention)]

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        caches: tuple[KeyValue, ...] | None = None,
        memory: Tensor | tuple[KeyValue, ...] | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValue, ...]]:
        """Return the outputs (N, T, D) for x (N, T, D), and the cache of every layer. There are no
        caches if layers are recomputed in the backward pass.

        Args:
            context: positions and mask of x.
            caches: keys and values of earlier positions for each layer; None for none.
            memory: encoder output (B, S, D), or its keys and values for each layer; None without
                encoder.
            memory_mask: (B, 1, 1, S), True where the source is not padded.
        """
        x = self.dropout(self.first(self.position.embed(x, context.positions)))
        recompute = (
            self.activation_checkpointing
            and self.training
            and torch.is_grad_enabled()
            and caches is None
        )
        after = []
        for i, layer in enumerate(self.layers):
            known = memory[i] if isinstance(memory, tuple) else memory
            if recompute:
                x = checkpoint(
                    lambda *inputs, layer=layer: layer(*inputs)[0],
                    x,
                    context,
                    None,
                    known,
                    memory_mask,
                    use_reentrant=False,
                )
            else:
                x, cache = layer(
                    x, context, None if caches is None else caches[i], known, memory_mask
                )
                after.append(cache)
        return self.last(x), tuple(after)


def bidirectional_context(position: Position, x: Tensor, pad: Tensor | None) -> AttentionContext:
    """Return the attention context of an encoder, where every position attends to all positions
    that are not padded.

    Args:
        pad: (N, T), True where x is padded.
    """
    n = x.size(1)
    check_length(position, n)
    positions = torch.arange(n, device=x.device)
    # (N, 1, 1, S), (1, H, T, S)
    mask = None if pad is None else ~pad[:, None, None]
    bias = position.score_bias(positions, n)
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, BLOCKED)
    return AttentionContext(positions, n, position.rotation(positions), mask, causal=False)


def causal_context(position: Position, x: Tensor, past: int | Tensor) -> AttentionContext:
    """Return the attention context of a decoder, where every input attends to itself, to the inputs
    before it, and to the `past` cached positions.

    Args:
        past: number of cached positions; a tensor (N,) if it differs between rows.
    """
    n = x.size(1)
    length = int(past.max() if isinstance(past, Tensor) else past) + n
    check_length(position, length)
    # (T,) or (N, T)
    positions = torch.arange(n, device=x.device) + (
        past.to(x.device)[:, None] if isinstance(past, Tensor) else past
    )
    bias = position.score_bias(positions, length)
    rotation = position.rotation(positions)
    if bias is None and length == n:
        return AttentionContext(positions, length, rotation, None, causal=True)
    if bias is None and n == 1 and positions.dim() == 1:
        return AttentionContext(positions, length, rotation, None, causal=False)
    mask = causal_mask(positions, length, bias)
    return AttentionContext(positions, length, rotation, mask, causal=False)


def causal_mask(positions: Tensor, length: int, bias: Tensor | None) -> Tensor:
    """Return the mask of queries at `positions`, (T,) or (N, T), that see the keys at their own
    position and before: bool (T, S) or (N, 1, T, S), or the bias where one is given.

    Args:
        length: number of keys.
        bias: (1 or N, H, T, S), added to the attention scores; None for none.
    """
    visible = torch.arange(length, device=positions.device) <= positions[..., None]
    visible = visible if positions.dim() == 1 else visible[:, None]
    return visible if bias is None else bias.masked_fill(~visible, BLOCKED)


def check_length(position: Position, n: int) -> None:
    """Check that the positional encoding has at least n positions.

    Raises:
        ValueError: it has fewer than n positions.
    """
    if position.max_length is not None and n > position.max_length:
        raise ValueError(
            f"position.max_length={position.max_length} must be at least the {n} tokens of the "
            "input; raise it, shorten the input, or use Rotary or Sinusoidal"
        )
