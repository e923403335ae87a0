"""Reader of sound files, resampled to one sample rate."""

import io
from math import gcd
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.audio.containers import TruncatedError, repaired
from lslm_lightning.audio.sound_files import import_soundfile
from lslm_lightning.extras import MissingPackageError
from lslm_lightning.safety.limits import max_unpacked, too_large

FULL_SCALE = 1 - 2.0**-15  # the greatest value of 16 bits
BLOCK = 1 << 16  # samples read at a time, of all channels
SAMPLE_BYTES = 2  # that a sample unpacks to: 16 bits
LOWEST_RATE_HZ = 1000  # below it there is no speech, and resampling would need gigabytes
HIGHEST_RATE_HZ = 768_000
LARGEST_FACTOR = 200_000  # of resampling, whose filter has 20 times as many numbers
CANCELLED = 1e-3  # energy of averaged channels over that of unrelated ones
LARGEST_SAMPLE = 1e12  # full scale is 1; the energy of more is not finite in float32


class Waveform(NamedTuple):
    """Samples of one channel, and properties of the file that they were read from."""

    samples: Tensor  # (n,) float32, from -1 to 1
    sample_rate_hz: int
    original_rate_hz: int
    n_channel: int  # of the file; more than one were averaged
    clipped: float  # share of the file's samples at full scale

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz


class DecodedSound(NamedTuple):
    """Decoded samples of a sound file, with its sample rate."""

    frames: np.ndarray  # (n, channels) float64
    rate_hz: int
    stated: int  # number of frames by the header; an estimate in some formats


class Seekable(io.BytesIO):
    """File in memory that ignores a seek to an invalid position.

    libsndfile would lose an exception raised by such a seek.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):  # before the start, or beyond any file
            return self.tell()


def decode(data: bytes, name: str, n_byte: int) -> DecodedSound:
    """Return all frames of a sound file, even if its header states another number.

    Args:
        name: name of the file, for messages.
        n_byte: size of the file in bytes, which bounds the number of frames.

    Raises:
        soundfile.LibsndfileError: the bytes are not audio, or they are damaged.
        ValueError: there are more frames than a file of this size may have.
    """
    soundfile = import_soundfile()

    limit = max_unpacked(n_byte)
    with soundfile.SoundFile(Seekable(data)) as file:
        # GSM is not, nor is FLAC of unknown length: read forward only
        file.seekable = lambda: False
        stated = file.frames
        n_read = 0
        blocks = [np.empty((0, file.channels))]
        n_at_once = max(1, BLOCK // file.channels)
        while len(
            block := file.read(min(n_at_once, stated - n_read), dtype="float64", always_2d=True)
        ):
            n_read += len(block)
            if n_read * file.channels * SAMPLE_BYTES > limit:
                raise too_large(name, limit, n_byte)
            blocks.append(block)
        return DecodedSound(np.concatenate(blocks), file.samplerate, stated)


def seconds_of(data: bytes, name: str) -> float | None:
    """Return the length of a recording; None if the bytes are no sound file, or the package
    soundfile is not installed.

    A file is decoded only where its header does not state the number of frames.

    Args:
        name: name of the file, for messages.

    Raises:
        ValueError: the file is cut off, or unpacks to more than its size allows.
    """
    try:
        soundfile = import_soundfile()
    except MissingPackageError:
        return None
    try:
        contents = repaired(data)
        if contents.is_exact:
            return float(soundfile.info(Seekable(contents.data)).duration)
        decoded = decode(contents.data, name, len(data))
    except TruncatedError as error:
        raise ValueError(f"{name} is cut off: {error}") from None
    except soundfile.LibsndfileError:
        return None
    return (len(decoded.frames) - contents.n_added) / decoded.rate_hz


def read_audio(data: bytes, name: str, sample_rate_hz: int) -> Waveform:
    """Return the samples of a sound file in any format that libsndfile reads (WAV, FLAC, Ogg, MP3,
    ...).

    The format is detected from the bytes, not from the name. Channels are averaged. Files with
    another rate are resampled with a polyphase filter (scipy.signal.resample_poly).

    Args:
        name: name of the file, for messages.
        sample_rate_hz: rate of the result.

    Raises:
        ValueError: the file is empty, truncated or not audio, it has no samples or samples that are
            not finite, or its channels cancel each other; the message is one line with the name of
            the file.
    """
    from scipy.signal import resample_poly

    soundfile = import_soundfile()

    if not data:
        raise ValueError(f"{name} is empty, not audio")
    try:
        contents = repaired(data)
        decoded = decode(contents.data, name, len(data))
    except TruncatedError as error:
        raise ValueError(f"{name} is cut off: {error}") from None
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").strip(" .")
        reason = reason or f"libsndfile error {error.code}"
        raise ValueError(f"{name} cannot be read as audio: {reason}") from None
    channels = decoded.frames[contents.n_added :]
    rate = decoded.rate_hz
    if contents.is_exact and len(channels) < decoded.stated:
        missing = f"{len(channels):,} of {decoded.stated:,} samples are there"
        raise ValueError(f"{name} is cut off: {missing}")
    if not len(channels):
        raise ValueError(f"{name} has no samples")
    if not np.isfinite(channels).all():
        raise ValueError(f"{name} has samples that are not finite: it is damaged")
    if np.abs(channels).max() > LARGEST_SAMPLE:
        raise ValueError(f"{name} has samples above {LARGEST_SAMPLE:g}: it is damaged")
    common = gcd(rate, sample_rate_hz)
    up = sample_rate_hz // common
    down = rate // common
    if rate < LOWEST_RATE_HZ:
        rule = f"below {LOWEST_RATE_HZ}: its header is wrong"
        raise ValueError(f"{name} has {rate} samples a second, {rule}")
    if max(rate, sample_rate_hz) > HIGHEST_RATE_HZ or max(up, down) > LARGEST_FACTOR:
        rule = (
            f"which cannot be brought to {sample_rate_hz}: its header is wrong, or convert it first"
        )
        raise ValueError(f"{name} has {rate} samples a second, {rule}")
    samples = channels.mean(1)
    n_channel = channels.shape[1]
    if n_channel * (samples**2).mean() < CANCELLED * (channels**2).mean():
        raise ValueError(
            f"{name} has {n_channel} channels that cancel each other where they are averaged; keep "
            "one of them: ffmpeg -i FILE -af 'pan=mono|c0=c0' NEW_FILE"
        )
    if rate != sample_rate_hz:
        samples = resample_poly(samples, up, down)
    clipped = float((np.abs(channels) >= FULL_SCALE).mean())
    return Waveform(torch.from_numpy(samples).float(), sample_rate_hz, rate, n_channel, clipped)
