"""Encoding of sound as the bytes of a FLAC or MP3 file."""

import io
from typing import NamedTuple

from lslm_lightning.audio.sound_files import import_soundfile
from lslm_lightning.audio.waveform import Waveform

MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Encoding(NamedTuple):
    """Sound file format: its media type, and soundfile's names for it."""

    kind: str
    format: str
    subtype: str


# 16 bits a sample, without loss from there; about half the bytes of a WAV file
FLAC = Encoding("audio/flac", "FLAC", "PCM_16")
MP3 = Encoding("audio/mpeg", "MP3", "MPEG_LAYER_III")  # about 4 kB a second of speech


def encodings(rate_hz: int) -> list[Encoding]:
    """Return the formats that can be written at a sample rate on this machine, lossless ones
    first.
    """
    soundfile = import_soundfile()

    return (
        [FLAC, MP3]
        if rate_hz in MP3_RATES_HZ and MP3.format in soundfile.available_formats()
        else [FLAC]
    )


def encoded(waveform: Waveform, encoding: Encoding) -> bytes:
    """Return a waveform as the bytes of a sound file with one channel."""
    soundfile = import_soundfile()

    file = io.BytesIO()
    samples = waveform.samples.clamp(-1, 1).numpy()
    soundfile.write(
        file, samples, waveform.sample_rate_hz, format=encoding.format, subtype=encoding.subtype
    )
    return file.getvalue()
