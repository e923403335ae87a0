"""Log-mel features against those of `transformers`, and its filters on spectra of scipy."""

import numpy as np
import pytest
import torch
from scipy.signal import ShortTimeFFT, get_window

from lslm_lightning.audio import LogMel

audio_utils = pytest.importorskip(
    "transformers.audio_utils", reason="transformers is a test dependency: pip install -e .[dev]"
)


def filters(log_mel: LogMel) -> np.ndarray:
    return audio_utils.mel_filter_bank(
        num_frequency_bins=log_mel.n_fft // 2 + 1,
        num_mel_filters=log_mel.n_mel,
        min_frequency=log_mel.low_hz,
        max_frequency=log_mel.highest_hz,
        sampling_rate=log_mel.sample_rate_hz,
        norm=None,
        mel_scale="htk",
    )


def of_transformers(log_mel: LogMel, samples: np.ndarray) -> np.ndarray:
    window = audio_utils.window_function(log_mel.window, "hann")
    sizes = log_mel.window, log_mel.hop, log_mel.n_fft
    settings = {
        "power": 2.0,
        "pad_mode": "constant",
        "mel_filters": filters(log_mel),
        "mel_floor": log_mel.floor,
        "log_mel": "log",
    }
    return audio_utils.spectrogram(samples, window, *sizes, **settings, dtype=np.float64).T


def of_scipy(log_mel: LogMel, samples: np.ndarray) -> np.ndarray:
    window = get_window("hann", log_mel.window)
    transform = ShortTimeFFT(window, log_mel.hop, log_mel.sample_rate_hz, mfft=log_mel.n_fft)
    power = np.abs(transform.stft(samples, p0=0, p1=1 + len(samples) // log_mel.hop)) ** 2  # (K, T)
    return np.log(np.maximum(power.T @ filters(log_mel), log_mel.floor))


@pytest.mark.parametrize(
    "log_mel",
    [
        LogMel(),
        LogMel(8000, 40),
        LogMel(8000, 23, window_ms=32, hop_ms=8, low_hz=0, high_hz=3800),
        LogMel(44_100, 64, high_hz=16_000),
    ],
    ids=["16 kHz", "8 kHz", "8 kHz, 32 ms", "44.1 kHz"],
)
@pytest.mark.parametrize("seconds", [0.5, 0.0312, 0.001])
def test_it_is_that_of_transformers_and_scipy(log_mel, seconds):
    noise = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * log_mel.sample_rate_hz))
    found = log_mel(torch.from_numpy(noise))
    assert found.shape == (1 + len(noise) // log_mel.hop, log_mel.n_feature)
    # which keeps spectra in single precision
    np.testing.assert_allclose(found, of_transformers(log_mel, noise), rtol=0, atol=1e-5)
    if len(noise) >= log_mel.window:  # scipy wants half of one
        np.testing.assert_allclose(found, of_scipy(log_mel, noise), rtol=0, atol=1e-9)


def test_silence_is_the_floor_and_precision_that_of_the_samples():
    found = LogMel(floor=1e-6)(torch.zeros(1000))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full_like(found, np.log(1e-6)))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"high_hz": 9000}, "high_hz=9000"),
        ({"low_hz": 8000}, "low_hz=8000"),
        ({"hop_ms": 30}, "hop_ms=30"),
        ({"hop_ms": 0}, "hop_ms=0"),
        ({"hop_ms": 0.01}, "hop_ms=0.01 is less than a sample"),
        ({"n_mel": 200}, "n_mel=200 leaves .* bands without a frequency"),
    ],
)
def test_bad_settings_are_named(settings, names):
    with pytest.raises(ValueError, match=names):
        LogMel(**settings)
