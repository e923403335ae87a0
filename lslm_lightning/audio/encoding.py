"""Encoding of sound as the bytes of a file."""

import io
from typing import NamedTuple

from lslm_lightning.audio.waveform import Waveform

MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Encoding(NamedTuple):
    """File format of sound: its media type, and its names in soundfile."""

    kind: str
    format: str
    subtype: str


# 16 bits a sample, without loss from there; about half the bytes of a WAV file
FLAC = Encoding("audio/flac", "FLAC", "PCM_16")
MP3 = Encoding("audio/mpeg", "MP3", "MPEG_LAYER_III")  # about 4 kB a second of speech


def encodings(rate_hz: int) -> list[Encoding]:
    """Return the formats that this machine can write at a sample rate, lossless ones first."""
    import soundfile

    return (
        [FLAC, MP3]
        if rate_hz in MP3_RATES_HZ and MP3.format in soundfile.available_formats()
        else [FLAC]
    )


def encoded(waveform: Waveform, encoding: Encoding) -> bytes:
    """Return the bytes of a file with one channel."""
    import soundfile

    file = io.BytesIO()
    samples = waveform.samples.clamp(-1, 1).numpy()
    soundfile.write(
        file, samples, waveform.sample_rate_hz, format=encoding.format, subtype=encoding.subtype
    )
    return file.getvalue()
