"""Another tempo: the same sound over more or fewer frames."""

import torch

from lslm_lightning.audio.tempo import retimed


def test_the_same_number_of_frames_changes_nothing():
    x = torch.randn(3, 7, 4)
    lengths = torch.tensor([7, 5, 1])
    y = retimed(x, lengths, lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, :n], x[row, :n])
        assert not y[row, n:].any()


def test_a_straight_line_stays_one():
    line = torch.arange(40.0)[None, :, None].repeat(2, 1, 1)
    y = retimed(line, torch.tensor([40, 20]), torch.tensor([80, 10]))
    assert y.shape == (2, 80, 1)
    torch.testing.assert_close(y[0, 2:78, 0].diff(), torch.full((75,), 0.5))
    torch.testing.assert_close(y[1, :10, 0].diff(), torch.full((9,), 2.0))
    assert not y[1, 10:].any()


def test_padding_is_never_heard():
    x = torch.randn(2, 9, 3)
    lengths = torch.tensor([9, 4])
    wanted = torch.tensor([6, 7])
    loud = x.clone()
    loud[1, 4:] = 1e6
    torch.testing.assert_close(retimed(loud, lengths, wanted), retimed(x, lengths, wanted))
