"""Files of ready features, slopes against scipy's, and normalization."""

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter

from lslm_lightning.audio import deltas, normalized, read_frames


def written(values: np.ndarray) -> bytes:
    """As Sphinx writes a file."""
    return np.array([values.size], ">i4").tobytes() + values.astype(">f4").tobytes()


def test_frames_come_back_as_they_were_written():
    frames = np.random.default_rng(0).normal(size=(7, 13)).astype(np.float32)
    found = read_frames(written(frames), "a.mfc", 13)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), frames)
    found.mul_(2)  # it is ours to write to


WHOLE = written(np.ones((3, 13)))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "has 0 bytes"),
        (WHOLE[:3], "has 3 bytes"),
        (WHOLE[:-1], "has 159 bytes, .* here 39"),
        (WHOLE + b"\0" * 4, "has 164 bytes"),
        (WHOLE[4:], "cut off, or of another format"),
        (written(np.ones(0)), "holds 0 numbers, .* at least one"),
        (written(np.ones(14)), "holds 14 numbers, .* n_feature=13"),
        (written(np.array([np.nan] * 2 + [1.0] * 11)), "2 numbers that are not finite"),
        (b"\xff\xff\xff\xff", "has 4 bytes"),
    ],
    ids=range(9),
)
def test_what_is_no_such_file_is_named(data, names):
    with pytest.raises(ValueError, match=rf"^a\.mfc [^\n]*{names}[^\n]*$"):
        read_frames(data, "a.mfc", 13)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("n_frame", [9, 30])
def test_deltas_are_slopes_of_straight_lines(width, n_frame):
    frames = torch.randn(n_frame, 5, dtype=torch.double)
    expected = savgol_filter(
        frames.numpy(), 2 * width + 1, polyorder=1, deriv=1, axis=0, mode="nearest"
    )
    torch.testing.assert_close(deltas(frames, width).numpy(), expected, rtol=0, atol=1e-12)


def test_deltas_of_a_single_frame_are_nothing():
    assert deltas(torch.randn(1, 3, dtype=torch.double)).abs().max() < 1e-15


def test_normalized_features_have_mean_0_and_variance_1():
    frames = torch.randn(50, 4, dtype=torch.double) * torch.tensor(
        [1.0, 30, 0.01, 0]
    ) + torch.tensor([0.0, 5, -3, 7])
    found = normalized(frames)
    torch.testing.assert_close(
        found.mean(0), torch.zeros(4, dtype=torch.double), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        found.var(0, correction=0),
        torch.tensor([1.0, 1, 1, 0], dtype=torch.double),
        rtol=0,
        atol=1e-10,
    )
    assert torch.equal(normalized(torch.ones(1, 4)), torch.zeros(1, 4))
