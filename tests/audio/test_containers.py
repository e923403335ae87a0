"""Whole files are read to their end, whatever headers say; those that miss samples are refused."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile

from lslm_lightning.audio import read_audio
from lslm_lightning.audio.waveform import seconds_of

RATE = 16_000
N = 1601  # odd, so that chunks of one byte a sample need padding
TONE = 0.3 * np.sin(np.arange(N) / 6)


def written(samples=TONE, format="WAV", subtype="PCM_16", rate=RATE, **options) -> bytes:
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=format, **options) as out:
        out.write(samples)
    return file.getvalue()


WAV = written()
FLAC = written(format="FLAC")


def samples_of(data: bytes, rate: int = RATE) -> np.ndarray:
    """Read a file of that rate; its length without reading its samples is their number."""
    samples = read_audio(data, "clips/a.wav", rate).samples.numpy()
    assert seconds_of(data, "clips/a.wav") == pytest.approx(len(samples) / rate, abs=0.5 / rate)
    return samples


def with_sizes(riff: int, data: int, wav: bytes = WAV) -> bytes:
    return wav[:4] + struct.pack("<I", riff) + wav[8:40] + struct.pack("<I", data) + wav[44:]


def chunk(name: bytes, content: bytes, pad: bool = True) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2 * pad)


WHOLE_WAVES = {
    "plain": WAV,
    "ffmpeg's pipe": with_sizes(0xFFFFFFFF, 0xFFFFFFFF),
    "sox's pipe": with_sizes(0x7FFFF024, 0x7FFFF000),
    "sizes never filled in": with_sizes(0, 0),
    "size of data never filled in": with_sizes(len(WAV) - 8, 0),
    "RIFF size is that of the file": with_sizes(len(WAV), 2 * N),
    "RIFF size far too large": with_sizes(10**6, 2 * N),
    "RIFF size far too small": with_sizes(100, 2 * N),
    "LIST before": WAV[:36] + chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0") + WAV[36:],
    "odd LIST before": WAV[:36] + chunk(b"LIST", b"INFOabc") + WAV[36:],
    "odd chunk before without its pad": WAV[:36] + chunk(b"junk", b"abcde", False) + WAV[36:],
    "bext before the format": WAV[:12] + chunk(b"bext", b"\0" * 603) + WAV[12:],
    "LIST behind": WAV + chunk(b"LIST", b"INFOabc"),
    "LIST behind, cut off": WAV + b"LIST\x20\0\0\0INFO",
    "ID3 tag behind": WAV + b"TAG" + bytes(125),
    "bytes behind": WAV + b"\1" * 777,
}


@pytest.mark.parametrize("name", WHOLE_WAVES)
def test_every_sample_of_a_wave_file_is_read(name):
    with wave.open(io.BytesIO(WAV)) as file:
        expected = np.frombuffer(file.readframes(N), "<i2") / 2**15
    np.testing.assert_array_equal(samples_of(WHOLE_WAVES[name]), expected.astype(np.float32))


def test_a_file_without_its_pad_byte_is_whole():
    data = written(subtype="PCM_U8")
    assert len(samples_of(data[:-1])) == len(samples_of(data)) == N


KINDS = [
    (format, subtype)
    for format in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF")
    for subtype in soundfile.available_subtypes(format)
    if "DWVW" not in subtype and not (format == "WAV" and subtype == "MPEG_LAYER_III")
]
KINDS += [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
KINDS += [("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("format", "subtype"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_is_read_as_soundfile_reads_it_and_refused_when_cut(format, subtype, channels):
    samples = np.stack([TONE] * channels, 1)
    try:
        data = written(samples, format, subtype)
    except soundfile.LibsndfileError:
        pytest.skip("libsndfile does not write it")
    expected, _ = soundfile.read(io.BytesIO(data), frames=10 * N, fill_value=np.nan, always_2d=True)
    expected = expected[~np.isnan(expected).all(1)].mean(1)
    np.testing.assert_allclose(samples_of(data), expected, rtol=0, atol=1e-6)
    for cut in (len(data) * 2 // 3, len(data) - 3):
        with pytest.raises(ValueError, match=r"^clips/a\.wav [^\n]*$"):
            samples_of(data[:cut])


def test_flac_of_unknown_length_is_read_to_its_end():
    unknown = FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:]
    np.testing.assert_array_equal(samples_of(unknown), samples_of(FLAC))
    with pytest.raises(ValueError, match=r"clips/a\.wav cannot be read"):
        samples_of(unknown[: len(unknown) // 2])


ID3 = b"ID3\3\0\0\0\0\1\0" + bytes(128)
VARIABLE = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
CONSTANT = {"bitrate_mode": "CONSTANT", "compression_level": 0.1}
NOISE = np.random.default_rng(0).uniform(-0.8, 0.8, 8000)
ORDERS = {"quiet first": [np.zeros(24_000), NOISE], "loud first": [NOISE, np.zeros(24_000)]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("tags", [(b"", b""), (ID3, b"TAG" + bytes(125))])
def test_mp3_without_a_xing_header_is_read_to_its_end(order, rate, tags):
    """Decoders guess its length from the first frame: too long, or so short that most is lost."""
    parts = np.concatenate(ORDERS[order])
    stated = written(parts, "MP3", "MPEG_LAYER_III", rate, **VARIABLE)
    second = next(i for i in range(40, len(stated)) if stated[i : i + 2] == stated[:2])
    data = tags[0] + stated[second:] + tags[1]
    found = samples_of(data, rate)
    whole = samples_of(stated, rate)
    per_frame = 1152 if rate > 24_000 else 576
    assert len(whole) <= len(found) < len(whole) + 4 * per_frame
    assert len(found) % per_frame == 0
    lag = np.argmax(np.correlate(found, whole[:20_000], "valid")) if order == "loud first" else 0
    if lag:  # the sound itself, behind the delay of encoder and decoder
        assert np.abs(found[lag : lag + 20_000] - whole[:20_000]).max() < 1e-4
    with pytest.raises(ValueError, match=r"clips/a\.wav is cut off"):
        samples_of(stated[second:-7], rate)


def test_mp3_of_constant_rate_without_a_header_is_as_soundfile_reads_it():
    data = written(format="MP3", subtype="MPEG_LAYER_III", **CONSTANT)
    second = next(i for i in range(40, len(data)) if data[i : i + 2] == data[:2])
    expected, _ = soundfile.read(io.BytesIO(data[second:]))
    np.testing.assert_allclose(samples_of(data[second:]), expected, atol=1e-6)


def test_a_name_says_nothing_of_the_format():
    assert len(samples_of(FLAC)) == N


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_sizes(len(WAV) - 8, 10**6), "is cut off: 3,246 of 1,000,044 bytes"),
        (WAV[:44], "is cut off: 44 of 3,246 bytes"),
        (with_sizes(36, 0)[:44], "has no samples"),
        (with_sizes(62, 0)[:44] + chunk(b"LIST", b"INFOabcd"), "has no samples"),
        (WAV[:24] + struct.pack("<I", 3) + WAV[28:], "has 3 samples a second"),
        (ID3, "cannot be read as audio"),
        (b"\xff\xfb" * 200, "cannot be read as audio"),
        (b"RIFF", "is cut off|cannot be read as audio"),
        (b"OggS", "is cut off|cannot be read as audio"),
    ],
    ids=range(9),
)
def test_what_is_not_whole_is_named(data, reason):
    with pytest.raises(ValueError, match=rf"^clips/a\.wav [^\n]*({reason})[^\n]*$"):
        samples_of(data)
