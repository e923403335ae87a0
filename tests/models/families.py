"""Tiny models in float64 for the laws of backbones, with every parameter random so that none can be
without effect.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.feed_forward import GEGLU, GELU, ChainedReLU, ReLU, SwiGLU
from lslm_lightning.models.positions import (
    ALiBi,
    Learned,
    NoPositionalEncoding,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
)
from lslm_lightning.models.recurrent import GRU, LSTM, RNN, Bahdanau, Recurrent
from lslm_lightning.models.transformer import Transformer

D_MODEL = 16
POSITIONS = [
    Sinusoidal,
    partial(Learned, max_length=32),
    Rotary,
    ALiBi,
    partial(RelativeBuckets, n_bucket=4, max_distance=5),
    NoPositionalEncoding,
]
NORMS = [nn.LayerNorm, nn.RMSNorm]
FEED_FORWARDS = [ReLU, GELU, partial(GELU, approximate="tanh"), SwiGLU, GEGLU, ChainedReLU]
SIZES = [
    {"n_kv_head": 2},
    {"d_k": 6, "d_v": 3},
    {"n_kv_head": 1, "d_k": 2, "d_v": 5, "d_feedforward": D_MODEL},
    {"embedding_norm": True},
]

Family = Callable[..., Backbone]


def build(**settings) -> Transformer:
    """Return a Transformer in float64 and eval mode, with 2 + 2 layers by default."""
    torch.manual_seed(0)
    return shaken(
        Transformer(
            **{
                "d_model": D_MODEL,
                "n_encoder_layer": 2,
                "n_decoder_layer": 2,
                "d_feedforward": 24,
                **settings,
            }
        )
    )


def recurrent(kind: type[Recurrent], **settings) -> Recurrent:
    """Return a recurrent network in float64 and eval mode, with 2 + 2 layers by default."""
    torch.manual_seed(0)
    return shaken(
        kind(**{"d_model": D_MODEL, "n_encoder_layer": 2, "n_decoder_layer": 2, **settings})
    )


def shaken(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model.double().eval()


def label(settings: dict) -> str:
    """Return a readable name of a family."""
    names = [getattr(value, "func", value) for value in settings.values()]
    return "-".join(getattr(name, "__name__", str(name)) for name in names)


COMBINED = [
    {"position": position, "norm": norm, "feed_forward": feed_forward, "norm_first": norm_first}
    for position, norm, feed_forward, norm_first in product(
        POSITIONS, NORMS, FEED_FORWARDS, [True, False]
    )
]
SIZED = [{"position": position, **sizes} for position, sizes in product(POSITIONS, SIZES)]
FAMILIES = [
    pytest.param(partial(build, **settings), id=label(settings)) for settings in COMBINED + SIZED
]
EVERY_POSITION = [
    pytest.param(partial(build, position=position), id=label({"position": position}))
    for position in POSITIONS
]
RECURRENT = [pytest.param(partial(recurrent, kind), id=kind.__name__) for kind in (RNN, GRU, LSTM)]
RECURRENT += [
    pytest.param(partial(recurrent, kind, attention=Bahdanau), id=f"{kind.__name__}-Bahdanau")
    for kind in (GRU, LSTM)
]
