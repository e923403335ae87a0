"""Sound files of several formats and rates, and what is none."""

import io

import numpy as np
import pytest
import soundfile
import torch

from lslm_lightning.audio import read_audio

RATE = 8000


def tone(hertz: float, n: int, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)


def written(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("FLAC", "PCM_16")])
def test_samples_come_back(format, subtype):
    samples = tone(440, 1000)
    found = read_audio(written(samples, format=format, subtype=subtype), "a", RATE)
    assert found.samples.dtype == torch.float32
    assert found[1:] == (RATE, RATE, 1, 0.0)
    assert np.abs(found.samples.numpy() - samples).max() <= 2.0**-15, "the step of 16 bits"
    assert found.seconds == 0.125


@pytest.mark.parametrize("rate", [16_000, 44_100, 11_025, 4_000])
def test_another_rate_is_the_same_sound(rate):
    """A tone that both rates can have, away from where the filter meets the ends."""
    found = read_audio(written(tone(300, rate, rate), rate), "a", RATE)
    assert (found.original_rate_hz, len(found.samples)) == (rate, RATE)
    middle = slice(RATE // 10, -RATE // 10)
    assert np.abs(found.samples.numpy() - tone(300, RATE))[middle].max() < 5e-3


def test_what_a_lower_rate_cannot_have_is_filtered_out():
    found = read_audio(written(tone(6000, 16_000, 16_000), 16_000), "a", RATE)
    assert found.samples[800:-800].abs().max() < 5e-3


def test_channels_are_averaged():
    left, right = tone(440, 500), tone(100, 500)
    found = read_audio(written(np.stack([left, right], 1), subtype="FLOAT"), "a", RATE)
    assert found.n_channel == 2
    np.testing.assert_allclose(found.samples.numpy(), (left + right) / 2, atol=1e-7)


def test_samples_at_full_scale_are_counted():
    samples = np.zeros(100)
    samples[:10], samples[10:15] = 1.0, -1.0
    for subtype in ("PCM_16", "FLOAT"):
        assert read_audio(written(samples, subtype=subtype), "a", RATE).clipped == 0.15


WAV, FLAC, AIFF = (written(tone(440, 4000), format=format) for format in ("WAV", "FLAC", "AIFF"))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "is empty, not audio"),
        (b"no sound at all " * 20, "cannot be read as audio: Format not recognised"),
        (WAV[:30], "is cut off: 30 of 8,044 bytes"),
        (WAV[:-1], "is cut off: 8,043 of 8,044 bytes"),
        (AIFF[: len(AIFF) // 2], "is cut off"),
        (FLAC[: len(FLAC) // 2], "cannot be read as audio|is cut off"),
        (written(np.zeros(0)), "has no samples"),
        (written(np.array([0.0, np.nan]), subtype="FLOAT"), "samples that are not finite"),
    ],
    ids=range(8),
)
def test_what_is_no_audio_is_named(data, names):
    with pytest.raises(ValueError, match=rf"^a\.wav [^\n]*({names})[^\n]*$"):
        read_audio(data, "a.wav", RATE)


def test_the_size_of_a_stream_is_not_believed():
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x24\xf0\xff\x7f"):
        assert len(read_audio(WAV[:4] + size + WAV[8:], "a", RATE).samples) == 4000
