"""Recurrent networks (RNN, GRU and LSTM) with attention to an encoder.

Axes: N rows, B sources (N = k * B for k beams per source), T time, S source time, D d_model. Each
layer is a fused module of `torch.nn`, which computes all time steps in one call.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lslm_lightning.models.attention import CrossAttention, KeyValue, record
from lslm_lightning.models.backbone import Backbone, EncoderState, State, check_layers
from lslm_lightning.models.dropout import LockedDropout
from lslm_lightning.models.linear import PaddedLinear

LayerState = tuple[Tensor, ...]  # (N, D) each: h, and c of an LSTM


class DecoderAttention(nn.Module):
    """Base class of the attention of a recurrent decoder to its encoder, called with (d_model).

    If `feeds_back` is False, the module is called with the outputs of the last decoder layer. If it
    is True, `run` runs the first layer with context vectors as additional inputs, and `combine`
    maps context vectors and outputs of the last layer to the final outputs.

    Args:
        d_model: size of the vectors between layers; given by the network.
    """

    feeds_back: bool
    combine: nn.Linear

    def precompute_cross_attention(self, memory: Tensor) -> KeyValue:
        """Return the keys and values of an encoder output `memory` (B, S, D)."""
        raise NotImplementedError

    def run(
        self,
        layer: nn.RNNBase,
        x: Tensor,
        pad: Tensor | None,
        state: LayerState | None,
        memory: Tensor | KeyValue,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, LayerState]:
        """Run all time steps of the first layer. Return its outputs (N, T, D), the context vectors
        (N, T, D), and the state after the last step.

        Args:
            layer: first layer of the decoder.
            x: (N, T, D) inputs.
            pad: (N, T), True where x is padded.
            state: state after the earlier inputs; None at first.
            memory: encoder output (B, S, D), or its keys and values.
            mask: (B, 1, 1, S), True where the source is not padded.
        """
        raise NotImplementedError


class Luong(DecoderAttention):
    """Luong attention after all decoder layers: tanh(W [c; h]) for output h and context vector c.

    Nothing is fed back to the next step, so the decoder layers stay fused. Source: Luong et al.
    2015, section 3.1, with scaled "general" scores.
    """

    feeds_back = False

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.attention = CrossAttention(d_model, 1, 1, d_model, d_model, bias=False)
        self.combine = PaddedLinear(2 * d_model, d_model, bias=False)

    def precompute_cross_attention(self, memory: Tensor) -> KeyValue:
        return self.attention.precompute_cross_attention(memory)

    def forward(self, y: Tensor, memory: Tensor | KeyValue, mask: Tensor | None) -> Tensor:
        """Return the attentional outputs (N, T, D) for decoder outputs y (N, T, D).

        Args:
            mask: (B, 1, 1, S), True where the source is not padded.
        """
        output: Tensor = self.combine(torch.cat([self.attention(y, memory, mask), y], -1)).tanh()
        return output


class Bahdanau(DecoderAttention):
    """Bahdanau attention with input feeding: the context vector is concatenated to the next step's
    input and to the output.

    It is slower than `Luong`, since the first layer runs step by step. Source: Bahdanau et al.
    2015, appendix A.1.2.
    """

    feeds_back = True

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = PaddedLinear(d_model, d_model, bias=False)
        self.key = PaddedLinear(d_model, d_model, bias=False)
        self.score = PaddedLinear(d_model, 1, bias=False)
        self.combine = PaddedLinear(2 * d_model, d_model, bias=False)

    def precompute_cross_attention(self, memory: Tensor) -> KeyValue:
        return self.key(memory), memory

    def attend(self, h: Tensor, memory: KeyValue, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the context vectors (N, D) and attention weights (B, k, S) for hidden states h (N,
        D).

        Args:
            memory: keys and values from `precompute_cross_attention`.
            mask: (B, 1, 1, S), True where the source is not padded.
        """
        key, value = memory
        query = self.query(h).view(len(key), -1, 1, h.size(-1))  # (B, k, 1, D)
        scores = self.score((query + key[:, None]).tanh())[..., 0]  # (B, k, S)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        return (weights @ value).flatten(0, 1), weights

    def run(
        self,
        layer: nn.RNNBase,
        x: Tensor,
        pad: Tensor | None,
        state: LayerState | None,
        memory: Tensor | KeyValue,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, LayerState]:
        memory = self.precompute_cross_attention(memory) if isinstance(memory, Tensor) else memory
        outputs = []
        contexts = []
        all_weights = []
        for t in range(x.size(1)):
            h = x.new_zeros(len(x), layer.hidden_size) if state is None else state[0]
            context, weights = self.attend(h, memory, mask)
            y, after = run(layer, torch.cat([x[:, t : t + 1], context[:, None]], -1), None, state)
            state = after if pad is None else keep_padded_rows(pad[:, t], after, state)
            outputs.append(y)
            contexts.append(context)
            all_weights.append(weights)
        assert state is not None
        record("cross", torch.stack(all_weights, 2).flatten(1, 2)[:, None])  # (B, 1, k * T, S)
        return torch.cat(outputs, 1), torch.stack(contexts, 1), state


class Recurrent(Backbone, ABC):
    """Base class of recurrent backbones: a bidirectional encoder, a unidirectional decoder, or
    both, with attention between them.

    Dropout acts on the inputs of each layer and on the final outputs, with one mask for all steps
    of a row. Source: Gal and Ghahramani 2016.

    Args:
        d_model: size of the output of each layer; each direction of the encoder has half of it.
        n_encoder_layer: number of encoder layers; 0 for a decoder alone.
        n_decoder_layer: number of decoder layers; 0 for an encoder alone.
        dropout: share of the values that are set to zero in training.
        attention: attention of the decoder to the encoder, `Luong` or `Bahdanau`; called with
            d_model.
    """

    has_bounded_state = True

    def __init__(
        self,
        d_model: int = 256,
        n_encoder_layer: int = 2,
        n_decoder_layer: int = 2,
        dropout: float = 0.1,
        attention: Callable[[int], nn.Module] = Luong,
    ) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"d_model={d_model} must be at least 1; 256 suits a CPU")
        check_layers(n_encoder_layer, n_decoder_layer)
        if n_encoder_layer and d_model % 2:
            raise ValueError(
                f"d_model={d_model} must be even: each direction of the encoder has half of it"
            )
        self.d_model = d_model
        self.n_encoder_layer = n_encoder_layer
        self.n_decoder_layer = n_decoder_layer
        self.encoder = nn.ModuleList(
            self.layer(d_model, d_model // 2, bidirectional=True) for _ in range(n_encoder_layer)
        )
        self.attention: DecoderAttention | None = None
        if n_encoder_layer and n_decoder_layer:
            self.attention = cast("DecoderAttention", attention(d_model))
        d_fed = d_model if self.attention is not None and self.attention.feeds_back else 0
        self.decoder = nn.ModuleList(
            self.layer(d_model + d_fed * (i == 0), d_model) for i in range(n_decoder_layer)
        )
        self.dropout = LockedDropout(dropout)

    @abstractmethod
    def layer(self, d_in: int, d_out: int, bidirectional: bool = False) -> nn.RNNBase:
        """Return one fused recurrent layer with batch-first inputs."""

    def blocks(self) -> list[nn.Module]:
        return [*self.encoder, *self.decoder]

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        self.check_encode()
        lengths = lengths_of(pad)
        for layer in self.encoder:
            x, _ = run(layer, self.dropout(x), lengths)
        output: Tensor = self.dropout(x)
        return output

    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        return () if self.attention is None else self.attention.precompute_cross_attention(memory)

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        self.check_decode(memory)
        lengths = lengths_of(pad)
        after = []
        context = None
        memory_mask = None if memory_pad is None else ~memory_pad[:, None, None]  # (B, 1, 1, S)
        for i, layer in enumerate(self.decoder):
            before = None if state is None else state[i]
            if i == 0 and self.attention is not None and self.attention.feeds_back:
                assert isinstance(layer, nn.RNNBase)
                assert memory is not None
                x, context, new_state = self.attention.run(
                    layer, self.dropout(x), pad, before, memory, memory_mask
                )
            else:
                x, new_state = run(layer, self.dropout(x), lengths, before)
            after.append(new_state)
        if context is not None:
            assert self.attention is not None
            x = self.attention.combine(torch.cat([context, x], -1)).tanh()
        elif self.attention is not None:
            x = self.attention(x, memory, memory_mask)
        return self.dropout(x), tuple(after)


def lengths_of(pad: Tensor | None) -> Tensor | None:
    """Return the number of real inputs of each row, (N,) int64 on the CPU. None if no row is
    padded, or on the meta device.
    """
    return None if pad is None or pad.is_meta or not pad.any() else (~pad).sum(1).cpu()


def run(
    layer: nn.Module, x: Tensor, lengths: Tensor | None = None, state: LayerState | None = None
) -> tuple[Tensor, LayerState]:
    """Run a layer over x (N, T, D). Return its outputs (N, T, D), and its state after the last real
    input of each row; for a bidirectional layer, the state of one direction.

    Args:
        lengths: (N,) number of real inputs of each row; None if no row is padded.
        state: state before x; None for zeros.
    """
    if isinstance(layer, nn.LSTM) and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        if dtype != torch.float32 and not _can_compute_lstm(dtype):
            state = None if state is None else tuple(part.float() for part in state)
            with torch.autocast("cpu", enabled=False):
                return run(layer, x.float(), lengths, state)
    given = None if state is None else to_torch_state(tuple(part[None] for part in state))
    if lengths is None:
        y, after = layer(x, given)
        return y, from_torch_state(after)
    y, after = layer(
        pack_padded_sequence(x, lengths.clamp(min=1), batch_first=True, enforce_sorted=False), given
    )
    y = pad_packed_sequence(y, batch_first=True, total_length=x.size(1))[0]
    after = from_torch_state(after)
    return y, after if lengths.all() else keep_padded_rows(
        (lengths == 0).to(x.device), after, state
    )


@cache
def _can_compute_lstm(dtype: torch.dtype) -> bool:
    """Return whether this processor computes an LSTM in a precision of 16 bits. torch raises an
    error on those without AVX-512, where it computes all other layers.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", dtype=dtype):
            nn.LSTM(1, 1, batch_first=True)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


def keep_padded_rows(stays: Tensor, after: LayerState, before: LayerState | None) -> LayerState:
    """Return the state `after`, but with the rows of `before` where `stays` (N,) is True. If
    `before` is None, these rows are zero.
    """
    before = before or tuple(torch.zeros_like(part) for part in after)
    return tuple(
        torch.where(stays[:, None], old, new) for old, new in zip(before, after, strict=True)
    )


def to_torch_state(state: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Return a state as torch expects it: one tensor, or a tuple of two for an LSTM."""
    return state if len(state) > 1 else state[0]


def from_torch_state(state: Tensor | tuple[Tensor, ...]) -> LayerState:
    """Return a state of torch as a tuple of (N, D). A bidirectional layer gives the state of its
    last direction, which nothing uses.
    """
    return tuple(part[-1] for part in (state if isinstance(state, tuple) else (state,)))


class RNN(Recurrent):
    """Elman network with tanh. Source: Elman 1990."""

    def layer(self, d_in: int, d_out: int, bidirectional: bool = False) -> nn.RNNBase:
        return nn.RNN(d_in, d_out, batch_first=True, bidirectional=bidirectional)


class GRU(Recurrent):
    """Gated recurrent units. Source: Cho et al. 2014, in the variant of `torch.nn.GRU`."""

    def layer(self, d_in: int, d_out: int, bidirectional: bool = False) -> nn.RNNBase:
        return nn.GRU(d_in, d_out, batch_first=True, bidirectional=bidirectional)


class LSTM(Recurrent):
    """Long short-term memory, with forget gate biases initialized to 1.

    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000; for the bias Jozefowicz et al. 2015.
    """

    def layer(self, d_in: int, d_out: int, bidirectional: bool = False) -> nn.RNNBase:
        layer = nn.LSTM(d_in, d_out, batch_first=True, bidirectional=bidirectional)
        for name, parameter in layer.named_parameters():
            if name.startswith("bias_ih"):
                parameter.data[d_out : 2 * d_out] = 1.0
            elif name.startswith("bias_hh"):
                parameter.data[d_out : 2 * d_out] = 0.0
        return layer
