"""Frame reduction: number of frames, and independence from padding."""

from functools import partial

import pytest
import torch

from lslm_lightning.models.subsampling import Stacking, Subsampling

REDUCTIONS = [partial(Subsampling, stride=stride, n_channel=4) for stride in (1, 2, 4)] + [
    partial(Stacking, stride=stride) for stride in (1, 3, 4)
]
everyone = pytest.mark.parametrize(
    "made", REDUCTIONS, ids=lambda made: f"{made.func.__name__} by {made.keywords['stride']}"
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@everyone
@pytest.mark.parametrize("n_feature", [1, 13, 40])
def test_lengths_are_those_said_beforehand(made, n_feature):
    front = made(n_feature, 16)
    for n in range(1, 20):
        y, lengths = front(torch.randn(1, n, n_feature), torch.tensor([n]))
        assert y.shape == (1, front.out_length(n), 16)
        assert (
            lengths.tolist()
            == [front.out_length(n)]
            == front.out_length(torch.tensor([n])).tolist()
        )
        assert front.out_length(n) == -(-n // front.stride)


@everyone
def test_padding_changes_nothing(made):
    front = made(13, 16).double()
    lengths = torch.tensor([1, 5, 8, 17, 30])
    x = torch.randn(5, 30, 13, dtype=torch.double)
    together, found = front(x, lengths)  # noise where it is padded
    for i, n in enumerate(lengths):
        alone, _ = front(x[i, None, :n], lengths[i, None])
        torch.testing.assert_close(together[i, : found[i]], alone[0], rtol=0, atol=1e-12)


@everyone
def test_vectors_are_normalized(made):
    front = made(13, 16).double()
    y, lengths = front(5 * torch.randn(2, 30, 13, dtype=torch.double) + 3, torch.tensor([30, 17]))
    for row, n in zip(y, lengths):
        torch.testing.assert_close(
            row[:n].mean(-1), torch.zeros(n, dtype=torch.double), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            row[:n].var(-1, correction=0), torch.ones(n, dtype=torch.double), rtol=0, atol=1e-2
        )


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_vector_sees_only_frames_around_it(stride):
    front = Subsampling(8, 4, stride, n_channel=4).double()
    x = torch.randn(1, 40, 8, dtype=torch.double, requires_grad=True)
    y, _ = front(x, torch.tensor([40]))
    middle = y.size(1) // 2
    y[0, middle, 0].backward()  # all of them together are always 0
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0]
    assert seen.min() <= middle * stride <= seen.max()
    assert seen.max() - seen.min() + 1 <= {1: 5, 2: 7, 4: 7}[stride]


def test_stacked_frames_keep_all_there_is():
    """Under an identity map, a vector is its frames one after the other."""
    front = Stacking(3, 12, stride=4).double()
    front.output.weight.data.copy_(torch.eye(12))
    front.output.bias.data.zero_()
    front.norm = torch.nn.Identity()
    x = torch.randn(2, 8, 3, dtype=torch.double)
    y, lengths = front(x, torch.tensor([8, 5]))
    assert lengths.tolist() == [2, 2]
    assert torch.equal(y[0].flatten(), x[0].flatten())
    assert torch.equal(y[1, 1], torch.cat([x[1, 4], torch.zeros(9, dtype=torch.double)]))


@pytest.mark.parametrize(
    ("kind", "arguments", "names"),
    [
        (Subsampling, (13, 8, 3), "stride=3"),
        (Subsampling, (0, 8), "n_feature=0"),
        (Subsampling, (13, 8, 4, 0), "n_channel=0"),
        (Stacking, (13, 8, 0), "stride=0"),
        (Stacking, (0, 8), "n_feature=0"),
    ],
    ids=str,
)
def test_bad_settings_are_named(kind, arguments, names):
    with pytest.raises(ValueError, match=names):
        kind(*arguments)
