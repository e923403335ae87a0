"""White noise added to recordings."""

import torch

from lslm_lightning.audio.encoding import FLAC, encoded
from lslm_lightning.audio.waveform import read_audio

ANY_RATE_HZ = 16_000


def with_noise(data: bytes, name: str, snr_db: float, seed: int) -> bytes:
    """Return a recording with white Gaussian noise as a FLAC file, at the recording's sample rate.

    Args:
        data: contents of a sound file, as `waveform.read_audio` reads it.
        name: name of the file, for messages.
        snr_db: mean power of the recording over that of the noise, in decibels.
        seed: seed of the noise.

    Raises:
        ValueError: the file cannot be read as audio.
    """
    rate_hz = read_audio(data, name, ANY_RATE_HZ).original_rate_hz
    clean = read_audio(data, name, rate_hz)
    power = clean.samples.square().mean()
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(clean.samples), generator=draws) * (power / 10 ** (snr_db / 10)).sqrt()
    noisy = clean.samples + noise
    loudest = float(noisy.abs().max())
    return encoded(clean._replace(samples=noisy / max(1.0, loudest)), FLAC)
