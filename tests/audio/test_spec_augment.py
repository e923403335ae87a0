"""What is masked, how much, and by what chance."""

import pytest
import torch

from lslm_lightning.audio import SpecAugment


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def masked(augment: SpecAugment, n_frame: int, n_feature: int, n: int = 400) -> torch.Tensor:
    """(n, T, F) bool of equal recordings."""
    return augment(torch.ones(n, n_frame, n_feature), torch.full((n,), n_frame)) == 0


def test_it_acts_in_training_alone_and_writes_to_a_copy():
    x = torch.randn(3, 50, 20)
    lengths = torch.tensor([50, 20, 1])
    before = x.clone()
    assert SpecAugment().eval()(x, lengths) is x
    assert not torch.equal(SpecAugment()(x, lengths), x)
    assert torch.equal(x, before)


def test_masks_are_bands_of_the_widths_that_were_said():
    bands = masked(SpecAugment(1, 6, 0, 0), 30, 20)
    assert (bands == bands[:, :1]).all(), "a band holds for the whole recording"
    widths = bands[:, 0].sum(-1)
    assert set(widths.tolist()) == set(range(7))
    assert (bands[:, 0].int().diff(dim=-1).abs().sum(-1) <= 2).all(), "in one piece"
    assert bands[:, 0].any(0).all(), "every feature is left out now and then"


def test_stretches_of_time_are_no_longer_than_width_and_share():
    for n_frame, longest in ((100, 8), (30, 6), (4, 0)):
        stretches = masked(SpecAugment(0, 0, 1, 8, time_share=0.2), n_frame, 5)
        assert (stretches == stretches[..., :1]).all()
        assert stretches[..., 0].sum(-1).max() == longest
        if longest:
            assert stretches[..., 0].any(0).all(), "every frame is left out now and then"


def test_masks_end_with_the_recording():
    lengths = torch.randint(1, 40, (200,))
    found = SpecAugment(0, 0, 3, 20, time_share=1.0)(torch.ones(200, 40, 4), lengths)
    behind = torch.arange(40) >= lengths[:, None]
    assert (found[behind] == 1).all()
    assert (found[~behind] == 0).any()


def test_chance_comes_from_torchs_generator():
    x = torch.randn(4, 60, 30)
    lengths = torch.tensor([60, 50, 40, 30])
    torch.manual_seed(0)
    first = SpecAugment()(x, lengths)
    assert not torch.equal(SpecAugment()(x, lengths), first)
    torch.manual_seed(0)
    assert torch.equal(SpecAugment()(x, lengths), first)


@pytest.mark.parametrize(
    ("settings", "names"),
    [({"n_time_mask": -1}, "n_time_mask=-1"), ({"time_share": 1.5}, "time_share=1.5")],
)
def test_bad_settings_are_named(settings, names):
    with pytest.raises(ValueError, match=names):
        SpecAugment(**settings)
