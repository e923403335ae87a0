"""Each feed-forward against its formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lslm_lightning.models.feed_forward import GEGLU, GELU, ChainedReLU, ReLU, SwiGLU

PLAIN = [
    (ReLU, {}, F.relu),
    (GELU, {}, F.gelu),
    (GELU, {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
]


def x() -> torch.Tensor:
    return torch.randn(2, 3, 6, dtype=torch.double)


@pytest.mark.parametrize(("kind", "settings", "activation"), PLAIN)
@pytest.mark.parametrize("bias", [True, False])
def test_plain(kind, settings, activation, bias):
    layer = kind(6, 10, bias=bias, **settings).double()
    inputs = x()
    assert (layer.inner.bias is not None) == bias
    assert torch.equal(layer(inputs), layer.output(activation(layer.inner(inputs))))


@pytest.mark.parametrize(("kind", "activation"), [(SwiGLU, F.silu), (GEGLU, F.gelu)])
def test_gated(kind, activation):
    layer = kind(6, 10).double()
    inputs = x()
    expected = layer.output(
        activation(F.linear(inputs, layer.gate.weight)) * F.linear(inputs, layer.inner.weight)
    )
    torch.testing.assert_close(layer(inputs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [6, 10])
def test_chained_is_the_formula_and_projects_only_where_the_width_differs(width):
    layer = ChainedReLU(6, width).double()
    inputs = x()
    hidden = layer.linear_1(inputs)
    assert torch.equal(layer(inputs), layer.output(F.relu(hidden) * layer.linear_2(hidden)))
    assert isinstance(layer.output, nn.Identity) == (width == 6)


def test_unknown_approximation_is_refused():
    with pytest.raises(ValueError, match="approximate='erf' must be one of"):
        GELU(6, 10, approximate="erf")
