"""Noise has the power that was asked for, and leaves the rest of the recording as it is."""

import numpy as np
import pytest

from lslm_lightning.audio.noise import with_noise
from lslm_lightning.audio.waveform import read_audio
from tests.support.tone_corpus import RATE_HZ, tones, wav


@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_the_ratio_of_the_powers_is_as_asked(snr_db):
    data = wav(tones("abc dad" * 5))
    clean = read_audio(data, "clean", RATE_HZ).samples.numpy().astype(np.float64)
    noisy_data = with_noise(data, "clean", snr_db, seed=1)
    noisy = read_audio(noisy_data, "noisy", RATE_HZ).samples.numpy().astype(np.float64)
    scale = noisy @ clean / (clean @ clean)  # below 1 where the sum would be clipped
    noise = noisy / scale - clean
    found = 10 * np.log10((clean**2).mean() / (noise**2).mean())
    assert found == pytest.approx(snr_db, abs=0.3)
    assert abs(np.corrcoef(noise, clean)[0, 1]) < 0.02
    assert with_noise(data, "clean", snr_db, seed=1) == noisy_data
    assert with_noise(data, "clean", snr_db, seed=2) != noisy_data
