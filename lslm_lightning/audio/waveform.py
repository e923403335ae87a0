"""Sound files as samples at one rate."""

import io
from math import gcd
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FULL_SCALE = 1 - 2.0**-15  # the greatest value of 16 bits
UNKNOWN = 0x7FFFF000  # sizes from here on are those of files that were written as they came: no utterance has 2 GB
ENDLESS = 2**62  # and so many samples


class Waveform(NamedTuple):
    """One channel, and what was done to get it."""

    samples: Tensor  # (n,) float32, from -1 to 1
    sample_rate_hz: int
    original_rate_hz: int
    n_channel: int  # of the file; more than one were averaged
    clipped: float  # share of the file's samples at full scale

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz


def stated_size(data: bytes) -> int:
    """Bytes of a WAV or AIFF file by its header, which libsndfile passes over where the file is cut off; 0 of others, and of streams."""
    order = {b"RIFF": "little", b"FORM": "big"}.get(data[:4])
    size = 0 if order is None else int.from_bytes(data[4:8], order)
    return 8 + size if 0 < size < UNKNOWN else 0


def read_audio(data: bytes, name: str, sample_rate_hz: int) -> Waveform:
    """The samples of a file of any format that libsndfile reads (WAV, FLAC, Ogg, MP3, ...).

    Another rate is changed by a polyphase filter (scipy.signal.resample_poly).

    Raises:
        ValueError: it is empty, cut off, endless, no audio, or has no samples, or samples that are not finite; in one line with its name.
    """
    import soundfile
    from scipy.signal import resample_poly

    if not data:
        raise ValueError(f"{name} is empty, not audio")
    if len(data) < (stated := stated_size(data)):
        raise ValueError(f"{name} is cut off: {len(data):,} of {stated:,} bytes are there")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            n_sample, rate = file.frames, file.samplerate
            if n_sample >= ENDLESS:
                raise ValueError(f"{name} does not say how long it is, as what is written to a pipe: convert it, for example to WAV")
            channels = file.read(dtype="float64", always_2d=True)  # (n, channels)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{name} cannot be read as audio: {error.error_string.rstrip('.')}") from None
    if len(channels) < n_sample:
        raise ValueError(f"{name} is cut off: {len(channels):,} of {n_sample:,} samples are there")
    if not len(channels):
        raise ValueError(f"{name} has no samples")
    if not np.isfinite(channels).all():
        raise ValueError(f"{name} has samples that are not finite: it is damaged")
    samples = channels.mean(1)
    if rate != sample_rate_hz:
        common = gcd(rate, sample_rate_hz)
        samples = resample_poly(samples, sample_rate_hz // common, rate // common)
    clipped = float((np.abs(channels) >= FULL_SCALE).mean())
    return Waveform(torch.from_numpy(samples).float(), sample_rate_hz, rate, channels.shape[1], clipped)
