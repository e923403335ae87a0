"""Laws for every position x norm x feed-forward, pre-norm and post-norm, and all widths of
heads.
"""

import pytest
import torch
from torch import nn

from lslm_lightning.models.positions import Learned
from lslm_lightning.models.transformer import Transformer
from tests.models.families import D_MODEL, EVERY_POSITION, Family, build
from tests.models.test_laws import EXACT, in_pieces, pad_after, vectors


@pytest.mark.parametrize("family", EVERY_POSITION)
@torch.no_grad()
def test_a_decoder_alone_steps_past_the_growth_of_its_cache(family: Family):
    model = family(n_encoder_layer=0, n_kv_head=2)
    x = vectors(2, 32)
    whole, _ = model.decode(x)
    torch.testing.assert_close(in_pieces(model, x, [5] + [1] * 27), whole, **EXACT)


@pytest.mark.parametrize("family", EVERY_POSITION)
def test_checkpointing_changes_no_gradient(family: Family):
    """Recomputed layers draw the same dropout masks."""
    gradients = []
    source = vectors(2, 5)
    x = vectors(2, 4)
    for flag in (False, True):
        model = family(dropout=0.5, activation_checkpointing=flag).train()
        torch.manual_seed(1)
        y, state = model.decode(x, memory=model.encode(source, pad_after([5, 3], 5)))
        y.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert state == ()
    torch.testing.assert_close(*gradients, **EXACT)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0])
    with pytest.raises(ValueError, match="activation_checkpointing"):
        model.decode(x, memory=model.encode(source), state=state)
    _, state = model.eval().decode(x, memory=source)
    model.decode(x, memory=source, state=state)


@torch.no_grad()
def test_every_position_but_none_tells_order():
    """Without positions an encoder sees a bag of tokens; with any encoding, another order gives
    another output.
    """
    x = vectors(1, 5)
    index = torch.tensor([2, 0, 1, 4, 3])
    for family in EVERY_POSITION:
        model = family.values[0](n_decoder_layer=0)
        same = torch.allclose(
            model.encode(x)[:, index], model.encode(x[:, index]), rtol=0, atol=1e-11
        )
        assert same == (family.id == "NoPositionalEncoding"), family.id


def test_nothing_is_shared_between_stacks_or_models():
    one, two = (Transformer(D_MODEL, position=Learned) for _ in range(2))
    tables = {
        id(model.position.weight) for model in (one.encoder, one.decoder, two.encoder, two.decoder)
    }
    assert len(tables) == 4


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("n_layer", [2, 24])
@torch.no_grad()
def test_initialization_keeps_the_scale_at_any_depth(n_layer: int, norm_first: bool):
    """The residual stream starts with variance 1 and has at most a few times that after 24 layers,
    as after 2.
    """
    torch.manual_seed(0)
    model = Transformer(64, 4, n_layer, 0, norm_first=norm_first).eval()
    model.encoder.last = nn.Identity()
    assert 0.5 < model.encode(torch.randn(8, 16, 64)).var() < 3


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"n_head": 3}, r"n_head=3 must divide d_model=16; try one of \[1, 2, 4, 8, 16\]"),
        ({"n_head": 0}, r"n_head=0 .*must be at least 1"),
        ({"n_kv_head": -4}, r"n_kv_head=-4 must be at least 1"),
        ({"d_model": 0}, r"d_model=0 must be at least 1"),
        ({"d_feedforward": 0}, r"d_feedforward=0 must be at least 1"),
        ({"d_k": 0}, r"d_k=0 must be at least 1"),
        ({"n_encoder_layer": -1}, r"n_encoder_layer=-1 .* not be negative"),
        ({"n_kv_head": 3}, r"n_kv_head=3 must divide n_head=4; try one of \[1, 2, 4\]"),
        ({"n_encoder_layer": 0, "n_decoder_layer": 0}, "one of them must be above 0"),
        ({"d_k": 5}, "d_k=5 must be even for Rotary"),
        ({"dropout": 1.5}, r"dropout=1\.5 must be"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict, rule: str):
    with pytest.raises(ValueError, match=rule):
        Transformer(**{"d_model": 16, "n_head": 4, **settings})


def test_misuse_is_refused():
    x = vectors(1, 3)
    with pytest.raises(ValueError, match="n_encoder_layer=0"):
        build(n_encoder_layer=0).encode(x)
    with pytest.raises(ValueError, match="n_decoder_layer=0"):
        build(n_decoder_layer=0).decode(x)
    with pytest.raises(ValueError, match="memory is missing"):
        build().decode(x)
    with pytest.raises(ValueError, match="memory is given"):
        build(n_encoder_layer=0).decode(x, memory=x)
