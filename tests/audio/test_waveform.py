"""Sound files of several formats and rates, and what is none."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch

from lslm_lightning.audio import read_audio
from lslm_lightning.safety.limits import SETTING

RATE = 8000


def tone(hertz: float, n: int, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)


def written(
    samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("FLAC", "PCM_16")],
)
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
    left = tone(440, 500)
    right = tone(100, 500)
    found = read_audio(written(np.stack([left, right], 1), subtype="FLOAT"), "a", RATE)
    assert found.n_channel == 2
    np.testing.assert_allclose(found.samples.numpy(), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("n_channel", [2, 4])
@pytest.mark.parametrize("other", [-1.0, -0.97])
def test_channels_of_opposite_phase_are_no_silence(n_channel, other):
    """As recorders with one cable wired the wrong way round write them."""
    one = tone(440, 500)
    channels = np.stack([one, other * one] * (n_channel // 2), 1)
    with pytest.raises(ValueError, match=f"^a.wav has {n_channel} channels that cancel each other"):
        read_audio(written(channels, subtype="FLOAT"), "a.wav", RATE)


@pytest.mark.parametrize("n_channel", [1, 2, 6])
def test_silence_and_unrelated_or_single_channels_are_read(n_channel):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, n_channel))
    for channels in (np.zeros((500, n_channel)), noise, noise * ([0.0] * (n_channel - 1) + [1.0])):
        assert read_audio(written(channels), "a", RATE).n_channel == n_channel


def test_samples_at_full_scale_are_counted():
    samples = np.zeros(100)
    samples[:10] = 1.0
    samples[10:15] = -1.0
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


def wav(
    rate: int = RATE, n_channel: int = 1, data: bytes = bytes(3200), kind: int = 1, n_bit: int = 16
) -> bytes:
    """A WAV file whose header says what it is told to."""
    block = n_channel * n_bit // 8 % 65536
    numbers = struct.pack("<HHIIHH", kind, n_channel, rate, rate * block % 2**32, block, n_bit)
    body = (
        b"WAVEfmt "
        + struct.pack("<I", 16)
        + numbers
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("rate", [0, 1, 999, 200_003, 999_983, 2**31 - 1, 2**32 - 1])
def test_a_rate_that_would_need_gigabytes_is_refused(rate):
    """The filter that resamples has 20 times as many numbers as the rate, where the rates share no
    factor.
    """
    with pytest.raises(
        ValueError, match=r"^a\.wav (has \d+ samples a second|cannot be read as audio)"
    ):
        read_audio(wav(rate), "a.wav", RATE)


@pytest.mark.parametrize("rate", [1000, 44_101, 192_000, 384_000, 768_000])
def test_rates_that_recorders_have_are_read(rate):
    expected = -(-1600 * RATE // rate)
    assert len(read_audio(wav(rate), "a.wav", RATE).samples) == expected


@pytest.mark.parametrize("rate", [768_001, 10**9, 10**12])
def test_a_rate_to_which_nothing_can_be_brought(rate):
    with pytest.raises(ValueError, match=rf"cannot be brought to {rate}"):
        read_audio(wav(), "a.wav", rate)


@pytest.mark.parametrize("n_channel", [0, 1025, 65535])
def test_a_number_of_channels_that_is_none(n_channel):
    with pytest.raises(ValueError, match=r"^a\.wav cannot be read as audio"):
        read_audio(wav(n_channel=n_channel), "a.wav", RATE)


def test_many_channels_take_memory_of_their_own_size():
    tracemalloc.start()
    found = read_audio(wav(n_channel=1024, data=bytes(2048 * 4)), "a.wav", RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.n_channel, len(found.samples)) == (1024, 4)
    assert peak < 8 << 20


def test_numbers_beyond_any_sound_are_refused():
    data = struct.pack("<d", 1e300) * 100
    with pytest.raises(ValueError, match=r"^a\.wav has samples above 1e\+12"):
        read_audio(wav(data=data, kind=3, n_bit=64), "a.wav", RATE)


@pytest.mark.slow
@pytest.mark.parametrize("n_channel", [1, 8])
def test_silence_that_unpacks_without_end_is_refused(n_channel, monkeypatch):
    """FLAC writes a second of silence in a few bytes."""
    monkeypatch.setattr("lslm_lightning.safety.limits.ALWAYS", 1 << 20)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, n_channel, format="FLAC", subtype="PCM_16") as writer:
        for _ in range(10):
            writer.write(np.zeros((1 << 17, n_channel), "int16"))
    with pytest.raises(
        ValueError, match=rf"^a\.flac: unpacks to more than [\d,]+ bytes .* {SETTING}"
    ):
        read_audio(file.getvalue(), "a.flac", RATE)
    monkeypatch.setenv(SETTING, str(2 * n_channel * 10 << 17))
    assert len(read_audio(file.getvalue(), "a.flac", RATE).samples) == 10 << 17


@pytest.mark.parametrize("seed", range(4))
def test_damaged_headers_end_in_one_line(seed, capfd):
    """Bytes of headers are replaced at random; what can still be read may be."""
    random = np.random.default_rng(seed)
    messages = []
    kinds = ("WAV", "FLAC", "AIFF", "CAF", "W64", "RF64", "AU", "NIST", "OGG", "VOC")
    good = {
        kind: written(tone(440, 400), format=kind, subtype="VORBIS" if kind == "OGG" else "PCM_16")
        for kind in kinds
    }
    for _ in range(150):
        data = bytearray(good[random.choice(kinds)])
        at = int(random.integers(min(100, len(data))))
        n = int(random.integers(1, 9))
        data[at : at + n] = [b"\xff", b"\0", b"\x7f"][random.integers(3)] * n
        try:
            read_audio(bytes(data), "a", RATE)
        except ValueError as error:
            messages.append(str(error))
    assert all(message.startswith("a") and "\n" not in message for message in messages)
    assert "Traceback" not in capfd.readouterr().err
