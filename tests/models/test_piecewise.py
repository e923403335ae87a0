"""Loss computed in pieces against torch's."""

import pytest
import torch
import torch.nn.functional as F

from lslm_lightning.models import piecewise
from lslm_lightning.models.piecewise import _nats_and_gradients, piecewise_nats

N = 50
D = 6
V = 40


def inputs(bias, dtype=torch.double):
    torch.manual_seed(0)
    parts = [
        torch.randn(N, D, dtype=dtype),
        torch.randn(V, D, dtype=dtype),
        *([torch.randn(V, dtype=dtype)] if bias else []),
    ]
    return [part.requires_grad_() for part in parts], torch.randint(V, (N,))


def of_torch(y, weight, bias, target, smoothing):
    scores = F.linear(y, weight, bias)
    return F.cross_entropy(scores.to(y.dtype), target, reduction="sum", label_smoothing=smoothing)


def gradients(loss, parts):
    return torch.autograd.grad(loss / 7, parts)


@pytest.mark.parametrize("n_row", [1, 7, 64])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradients_are_those_of_cross_entropy(bias, smoothing, n_row, monkeypatch):
    monkeypatch.setattr(piecewise, "N_SCORE", 1)
    monkeypatch.setattr(piecewise, "N_ROW", n_row)
    parts, target = inputs(bias)
    y, weight, b = (*parts, None)[:3]
    ours = piecewise_nats(y, weight, b, target, smoothing)
    theirs = of_torch(y, weight, b, target, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(ours, parts), gradients(theirs, parts), rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(
            piecewise_nats(y, weight, b, target, smoothing), theirs, rtol=1e-12, atol=0
        )


def test_under_autocast_it_is_as_near_to_the_truth_as_cross_entropy():
    parts, target = inputs(False)
    y, weight = (part.detach().float().requires_grad_() for part in parts)
    truth = gradients(of_torch(*parts, None, target, 0.0), parts)
    far = []
    for loss in (piecewise_nats, of_torch):
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(y, weight, None, target, 0.0)
        assert found.dtype == torch.float32
        far.append(
            [
                float((a - b).square().mean())
                for a, b in zip(gradients(found, (y, weight)), truth, strict=True)
            ]
        )
    assert all(ours < 1.5 * theirs for ours, theirs in zip(*far, strict=True))


@pytest.mark.parametrize("n_pad", [0, 7, N])
def test_padding_costs_nothing_and_has_no_gradient(n_pad):
    parts, target = inputs(True)
    target[torch.randperm(N)[:n_pad]] = V - 1
    ours = piecewise_nats(*parts, target, 0.1, pad_id=V - 1)
    theirs = F.cross_entropy(
        F.linear(*parts), target, reduction="sum", ignore_index=V - 1, label_smoothing=0.1
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(ours, parts), gradients(theirs, parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("trains_weight", [False, True])
def test_the_operator_keeps_what_it_promises_to_torch_compile(bias, trains_weight):
    """Its outputs have the promised shapes and types, and share no memory with its inputs."""
    parts, target = inputs(bias, torch.float32)
    y, weight, b = (*(part.detach() for part in parts), None)[:3]
    options = (0.1, 3, torch.bfloat16, True, trains_weight)
    torch.library.opcheck(_nats_and_gradients, (y, weight, b, target, *options))


def test_nothing_to_predict_costs_nothing():
    parts, _ = inputs(True)
    y = parts[0][:0]
    loss = piecewise_nats(y, *parts[1:], torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss == 0
    assert (parts[1].grad == 0).all()


def test_frozen_vectors_get_no_gradient_and_the_others_the_same():
    y = torch.randn(9, 6, requires_grad=True)
    weight = torch.randn(11, 6)
    target = torch.arange(9)
    [of_y] = torch.autograd.grad(piecewise_nats(y, weight, None, target), y)
    [expected] = torch.autograd.grad(F.cross_entropy(y @ weight.T, target, reduction="sum"), y)
    torch.testing.assert_close(of_y, expected)


def test_second_derivatives_are_refused():
    """Second derivatives would be wrong, because gradients are computed with the loss."""
    y = torch.randn(9, 6, requires_grad=True)
    weight = torch.randn(11, 6, requires_grad=True)
    [of_y] = torch.autograd.grad(
        piecewise_nats(y, weight, None, torch.arange(9)) ** 2, y, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        of_y.pow(2).sum().backward()
