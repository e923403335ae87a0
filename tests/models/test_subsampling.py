"""Fewer frames: how many, and that padding changes none of them."""

import pytest
import torch

from lslm_lightning.models.subsampling import Subsampling

STRIDES = [1, 2, 4]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_feature", [1, 13, 40])
def test_lengths_are_those_said_beforehand(stride, n_feature):
    front = Subsampling(n_feature, 16, stride, n_channel=4)
    for n in range(1, 20):
        y, lengths = front(torch.randn(1, n, n_feature), torch.tensor([n]))
        assert y.shape == (1, front.out_length(n), 16)
        assert lengths.tolist() == [front.out_length(n)] == front.out_length(torch.tensor([n])).tolist()
        assert front.out_length(n) == -(-n // stride)


@pytest.mark.parametrize("stride", STRIDES)
def test_padding_changes_nothing(stride):
    front = Subsampling(13, 16, stride, n_channel=4).double()
    lengths = torch.tensor([1, 5, 8, 17, 30])
    x = torch.randn(5, 30, 13, dtype=torch.double)
    together, found = front(x, lengths)  # noise where it is padded
    for i, n in enumerate(lengths):
        alone, _ = front(x[i, None, :n], lengths[i, None])
        torch.testing.assert_close(together[i, : found[i]], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_vector_sees_only_frames_around_it(stride):
    front = Subsampling(8, 4, stride, n_channel=4).double()
    x = torch.randn(1, 40, 8, dtype=torch.double, requires_grad=True)
    y, _ = front(x, torch.tensor([40]))
    middle = y.size(1) // 2
    y[0, middle].sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0]
    assert seen.min() <= middle * stride <= seen.max()
    assert seen.max() - seen.min() + 1 <= {1: 5, 2: 7, 4: 7}[stride]


@pytest.mark.parametrize(
    ("arguments", "names"), [((13, 8, 3), "stride=3"), ((0, 8), "n_feature=0"), ((13, 8, 4, 0), "n_channel=0")], ids=str
)
def test_bad_settings_are_named(arguments, names):
    with pytest.raises(ValueError, match=names):
        Subsampling(*arguments)
