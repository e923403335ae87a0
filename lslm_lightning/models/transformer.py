"""Transformer backbone.

Axes: N rows, B sources (N = k * B for k beams per source), T time, S source time, D d_model, H
n_head, K d_k, V d_v.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lslm_lightning.models.attention import CrossAttention, SelfAttention
from lslm_lightning.models.backbone import Backbone, EncoderState, State, check_layers
from lslm_lightning.models.feed_forward import GELU
from lslm_lightning.models.positions import Position, Rotary
from lslm_lightning.models.stack import Layer, Stack, bidirectional_context, causal_context

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class Transformer(Backbone):
    """Transformer encoder, decoder, or both; by default with pre-norm and rotary positions.

    Dropout acts on the output of each branch and on the inputs of a stack, not on attention
    weights. Source: Vaswani et al. 2017.

    Args:
        d_model: size of the vectors between layers.
        n_head: number of attention heads.
        n_encoder_layer: number of encoder layers; 0 for a decoder alone.
        n_decoder_layer: number of decoder layers; 0 for an encoder alone.
        d_feedforward: inner size of the feed-forward layers; 4 * d_model if None.
        d_k: size of the queries and keys of a head; d_model / n_head if None.
        d_v: size of the values of a head; d_model / n_head if None.
        n_kv_head: number of key-value heads, each serving n_head / n_kv_head query heads; n_head if
            None.
        dropout: share of the values that are set to zero in training.
        position: positional encoding; called with d_model, n_head and d_k, once for the encoder and
            once for the decoder.
        norm: normalization layer; called with d_model, like nn.LayerNorm and nn.RMSNorm.
        norm_first: normalize the input of each branch and the output of each stack (pre-norm),
            instead of the residual stream after each branch (post-norm).
        feed_forward: feed-forward layer; called with d_model and d_feedforward.
        bias: add a bias to the projections of attention.
        embedding_norm: normalize the inputs of each stack, as BERT does.
        activation_checkpointing: recompute layers in the backward pass instead of keeping their
            activations. In training, `decode` then returns no state.
    """

    can_compile = True

    def __init__(
        self,
        d_model: int = 256,
        n_head: int = 4,
        n_encoder_layer: int = 3,
        n_decoder_layer: int = 3,
        d_feedforward: int | None = None,
        d_k: int | None = None,
        d_v: int | None = None,
        n_kv_head: int | None = None,
        dropout: float = 0.1,
        position: Callable[[int, int, int], Position] = Rotary,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        norm_first: bool = True,
        feed_forward: Callable[[int, int], nn.Module] = GELU,
        bias: bool = True,
        embedding_norm: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = {
            "d_model": d_model,
            "d_feedforward": d_feedforward,
            "d_k": d_k,
            "d_v": d_v,
            "n_head": n_head,
            "n_kv_head": n_kv_head,
        }
        check_sizes(sizes)
        check_layers(n_encoder_layer, n_decoder_layer)
        n_kv_head = n_kv_head or n_head
        check_heads(n_head, n_kv_head, d_model, bool(d_k and d_v))
        d_k = d_k or d_model // n_head
        d_v = d_v or d_model // n_head
        d_feedforward = d_feedforward or 4 * d_model
        self.d_model = d_model
        self.n_encoder_layer = n_encoder_layer
        self.n_decoder_layer = n_decoder_layer
        projections = (d_model, n_head, n_kv_head, d_k, d_v, bias)

        def layer(role: str, cross: bool) -> Layer:
            attention = SelfAttention(*projections, role=role)
            cross_attention = CrossAttention(*projections) if cross else None
            inner = feed_forward(d_model, d_feedforward)
            return Layer(
                attention, cross_attention, inner, lambda: norm(d_model), norm_first, dropout
            )

        def stack(layers: list[Layer], is_causal: bool) -> Stack | None:
            if not layers:
                return None
            first = norm(d_model) if embedding_norm else nn.Identity()
            last = norm(d_model) if norm_first else nn.Identity()
            positions = position(d_model, n_head, d_k)
            positions.is_causal = is_causal
            return Stack(layers, positions, first, last, dropout, activation_checkpointing)

        self.encoder = stack(
            [layer("encoder", cross=False) for _ in range(n_encoder_layer)], is_causal=False
        )
        self.decoder = stack(
            [layer("self", cross=n_encoder_layer > 0) for _ in range(n_decoder_layer)],
            is_causal=True,
        )

    def blocks(self) -> list[nn.Module]:
        return [
            layer
            for stack in (self.encoder, self.decoder)
            if stack is not None
            for layer in stack.layers
        ]

    def apply_tensor_parallel(self, mesh: "DeviceMesh") -> None:
        # imported here, as one process alone does not need it
        from lslm_lightning.models.sharding import split_layers

        split_layers(self, mesh)

    def shard_shapes(self, n: int) -> None:
        from lslm_lightning.models.sharding import shrink_layers

        shrink_layers(self, n)

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        self.check_encode()
        assert self.encoder is not None
        memory: Tensor
        memory, _ = self.encoder(x, bidirectional_context(self.encoder.position, x, pad))
        return memory

    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        if self.decoder is None:
            return ()
        layers = self.decoder.cross_attentions()
        return tuple(layer.precompute_cross_attention(memory) for layer in layers)

    def state_prefix(self, state: State, n: int) -> State:
        caches = tuple((keys[:, :, :n], values[:, :, :n]) for keys, values in state[0])
        return caches, torch.full_like(state[1], n)

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        self.check_decode(memory)
        if state == ():
            raise ValueError(
                "activation_checkpointing=True keeps no state while training; call eval() before "
                "decoding step by step"
            )
        assert self.decoder is not None
        caches = None
        past: int | Tensor = 0
        if state is not None:
            caches = state[0]
            length = state[1].cpu()
            past = int(length[0]) if (length == length[0]).all() else length
        context = causal_context(self.decoder.position, x, past)
        memory_mask = None if memory_pad is None else ~memory_pad[:, None, None]  # (B, 1, 1, S)
        y, caches = self.decoder(x, context, caches, memory, memory_mask)
        if not caches:
            return y, ()
        # counted on its own device: training need not wait for it
        added = torch.full((len(x),), x.size(1)) if pad is None else (~pad).sum(1)
        return y, (caches, added if state is None else length + added.cpu())


def check_sizes(sizes: Mapping[str, int | None]) -> None:
    """Check that the sizes of a Transformer are at least 1; None stands for a default.

    Raises:
        ValueError: a size is below 1.
    """
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(
                f"{name}={size} must be at least 1; d_model=256 with n_head=4 suits a CPU, "
                "and the others may be left out"
            )


def check_heads(n_head: int, n_kv_head: int, d_model: int, has_widths: bool) -> None:
    """Check that n_kv_head divides n_head, and that n_head divides d_model.

    Args:
        has_widths: True if d_k and d_v are set, so that n_head need not divide d_model.

    Raises:
        ValueError: a number does not divide the other.
    """
    if n_head % n_kv_head:
        raise ValueError(
            f"n_kv_head={n_kv_head} must divide n_head={n_head}; try one of {divisors(n_head)}"
        )
    if d_model % n_head and not has_widths:
        raise ValueError(
            f"n_head={n_head} must divide d_model={d_model}; try one of {divisors(d_model)}, "
            "or set d_k and d_v"
        )


def divisors(n: int) -> list[int]:
    """Return the divisors of n, from 1 to n."""
    return [k for k in range(1, n + 1) if n % k == 0]
