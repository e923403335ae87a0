"""Whole layers against torch.nn, and the inputs of a stack."""

import pytest
import torch
from torch import nn

from lslm_lightning.models.feed_forward import GELU, ReLU
from lslm_lightning.models.positions import NoPositionalEncoding
from lslm_lightning.models.stack import Layer
from tests.models.convert import copy_linear, split_projections
from tests.models.families import build

SAME = pytest.mark.parametrize(("activation", "feed_forward"), [("relu", ReLU), ("gelu", GELU)])
NORM_FIRST = pytest.mark.parametrize("norm_first", [True, False])


def randomized(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return layer.eval()


def copy_attention_and_feed_forward(ours: Layer, theirs: nn.Module) -> None:
    """Copy the weights that encoder and decoder layers of torch.nn have in common."""
    split_projections(ours.self_attention, theirs.self_attn)
    copy_linear(ours.self_attention.output, theirs.self_attn.out_proj)
    copy_linear(ours.feed_forward.inner, theirs.linear1)
    copy_linear(ours.feed_forward.output, theirs.linear2)
    copy_linear(ours.self_norm, theirs.norm1)


@SAME
@NORM_FIRST
def test_encoder_layer_against_torch(activation, feed_forward, norm_first):
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, 0.1, activation, batch_first=True, norm_first=norm_first, dtype=torch.double
    )
    model = build(
        n_encoder_layer=1,
        n_decoder_layer=0,
        feed_forward=feed_forward,
        norm_first=norm_first,
        position=NoPositionalEncoding,
    )
    theirs = randomized(theirs)
    ours = model.encoder.layers[0]
    copy_attention_and_feed_forward(ours, theirs)
    copy_linear(ours.feed_forward_norm, theirs.norm2)
    model.encoder.last = nn.Identity()
    x = torch.randn(3, 6, 16, dtype=torch.double)
    pad = torch.arange(6) >= torch.tensor([6, 4, 1])[:, None]
    torch.testing.assert_close(
        model.encode(x, pad)[~pad], theirs(x, src_key_padding_mask=pad)[~pad], rtol=0, atol=1e-11
    )


@SAME
@NORM_FIRST
def test_decoder_layer_against_torch(activation, feed_forward, norm_first):
    theirs = nn.TransformerDecoderLayer(
        16, 4, 24, 0.1, activation, batch_first=True, norm_first=norm_first, dtype=torch.double
    )
    model = build(
        n_encoder_layer=1,
        n_decoder_layer=1,
        feed_forward=feed_forward,
        norm_first=norm_first,
        position=NoPositionalEncoding,
    )
    theirs = randomized(theirs)
    ours = model.decoder.layers[0]
    copy_attention_and_feed_forward(ours, theirs)
    copy_linear(ours.cross_norm, theirs.norm2)
    copy_linear(ours.feed_forward_norm, theirs.norm3)
    cross = theirs.multihead_attn
    split_projections(ours.cross_attention, cross)
    copy_linear(ours.cross_attention.output, cross.out_proj)
    model.decoder.last = nn.Identity()
    x = torch.randn(3, 5, 16, dtype=torch.double)
    memory = torch.randn(3, 6, 16, dtype=torch.double)
    pad = torch.arange(6) >= torch.tensor([6, 4, 1])[:, None]
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=pad)
    torch.testing.assert_close(
        model.decode(x, memory=memory, memory_pad=pad)[0], expected, rtol=0, atol=1e-11
    )


def test_dropout_acts_while_training_and_can_be_repeated():
    model = build(n_encoder_layer=0, dropout=0.5)
    x = torch.randn(2, 4, 16, dtype=torch.double)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model.decode(x)[0]

    assert torch.equal(run(1), run(2))
    model.train()
    assert torch.equal(run(1), run(1))
    assert not torch.allclose(run(1), run(2))
