"""Linear maps with padded rows against torch's."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lslm_lightning.models.linear import PaddedLinear, padded_rows, rounded
from lslm_lightning.models.transformer import Transformer

D = 24
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


class Shapes(TorchDispatchMode):
    """Record of the shapes of all matrix products with a matrix of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in PRODUCTS:
            self.found.add(tuple(each.shape for each in args))
        return func(*args, **(kwargs or {}))


def both(bias: bool) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = PaddedLinear(D, 40, bias=bias), nn.Linear(D, 40, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (3, 7), (5, 67), (2, 3, 200), (0, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("is_autocast", [True, False])
def test_values_and_gradients_are_those_of_a_linear_layer(shape, bias, is_autocast):
    layers = both(bias)
    x = torch.randn(*shape, D)
    gradient = torch.randn(*shape, 40)
    if not is_autocast:  # weights and inputs themselves in half precision
        layers = tuple(layer.bfloat16() for layer in layers)
        x = x.bfloat16()
    found = []
    for layer in layers:
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
            y = layer(given)
        y.backward(gradient.to(y.dtype))
        found.append((y, given.grad, *(each.grad for each in layer.parameters())))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_only_what_is_trained_has_a_gradient():
    layer, _ = both(bias=True)
    layer.weight.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(33, D)).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((40,), 33.0))


def test_a_frozen_weight_keeps_no_inputs_and_a_first_layer_no_weight():
    layer, _ = both(bias=True)
    x = torch.randn(33, D, requires_grad=True)

    def saved(y):
        return [None if each is None else each.shape for each in y.grad_fn.saved_tensors]

    with torch.autocast("cpu", torch.bfloat16):
        assert saved(layer(x.detach())) == [(48, D), None]
        layer.weight.requires_grad_(False)
        assert saved(layer(x)) == [None, (40, D)]


@pytest.mark.parametrize("n_row", [16, 33])
def test_the_result_can_be_changed_in_place(n_row):
    found = []
    for layer in both(bias=True):
        x = torch.randn(n_row, D, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
            y.mul_(2)
            y[1:].tanh_()
        y.sum().backward()
        found.append((y, x.grad, layer.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("n_row", [16, 33])
def test_a_weight_in_another_precision_is_refused_whatever_the_number_of_rows(n_row):
    layer, _ = both(bias=True)
    with pytest.raises(RuntimeError, match="same dtype"):
        layer(torch.randn(n_row, D).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_not_padded(dtype):
    rows = torch.randn(33, D, dtype=dtype)
    assert padded_rows(rows, dtype) is rows
    layer = both(bias=True)[0].to(dtype)
    with Shapes() as shapes:
        layer(rows)
    assert shapes.found == {((40,), (33, D), (D, 40))}


def test_padding_is_zeros_and_little():
    for n in range(1, 3000):
        assert n <= rounded(n) <= max(n + 15, 1.25 * n)
        assert rounded(rounded(n)) == rounded(n)
    rows = padded_rows(torch.ones(33, D), torch.bfloat16)
    assert rows[:33].eq(1).all()
    assert rows[33:].eq(0).all()


def test_all_products_of_a_transformer_have_rounded_numbers_of_rows():
    torch.manual_seed(0)
    model = Transformer(16, 2, 1, 1, d_feedforward=32)
    with Shapes() as shapes:
        for n_row, n_time in ((3, 7), (20, 9), (51, 11)):
            x = torch.randn(n_row, n_time, 16)
            with torch.autocast("cpu", torch.bfloat16):
                y, _ = model.decode(x, memory=model.encode(x))
            y.sum().backward()
    met = {size for shape in shapes.found for each in shape for size in each}
    assert met == {16, 32, *(rounded(n) for n in (3 * 7, 20 * 9, 51 * 11))}
