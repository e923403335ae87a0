"""Shares and means of dropped elements."""

import pytest
import torch

from lslm_lightning.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.15, 0.5])
def test_share_and_mean(p: float):
    """A million elements: the share dropped is within five standard deviations, what is kept is
    divided by 1 - p, signs stay.
    """
    torch.manual_seed(0)
    x = torch.randn(1000, 1001, dtype=torch.double)
    y = Dropout(p)(x)
    dropped = y == 0
    assert abs(dropped.double().mean() - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    torch.testing.assert_close(y[~dropped], x[~dropped] / (1 - p), rtol=2e-5, atol=0)
    assert dropped.double().mean(0).std() < 2 * (p * (1 - p) / 1000) ** 0.5  # no column is special
    # neighbours know nothing of each other
    assert abs((dropped[:, 1:] & dropped[:, :-1]).double().mean() - p * p) < 5e-3 * p


def test_gradient_is_that_of_what_was_kept():
    x = torch.randn(5, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)


def test_off_it_gives_its_input():
    x = torch.randn(3, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_impossible_shares_are_refused():
    for p in (-0.1, 1.0):
        with pytest.raises(ValueError, match="must be at least 0 and below 1"):
            Dropout(p)
