"""Sound as the bytes of a file."""

import io

from lslm_lightning.audio.waveform import Waveform

FLAC = "audio/flac"


def flac(waveform: Waveform) -> bytes:
    """One channel with 16 bits a sample, without loss from there, in about half the bytes of a WAV file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, waveform.samples.clamp(-1, 1).numpy(), waveform.sample_rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()
