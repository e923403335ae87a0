"""From bytes to features: always the same, in one place for training and for answers."""

import struct

import numpy as np
import pytest
import torch

from lslm_lightning.audio.encoding import FLAC, MP3, encoded, encodings
from lslm_lightning.audio.features import deltas
from lslm_lightning.audio.front_end import Frames, Waveforms
from lslm_lightning.audio.waveform import read_audio
from tests.support.tone_corpus import RATE_HZ, tones, wav


def cepstra(values: np.ndarray) -> bytes:
    return struct.pack(">i", values.size) + values.astype(">f4").tobytes()


def test_features_are_normalized_by_recording():
    front_end = Waveforms(RATE_HZ, n_mel=20)
    quiet, loud = (front_end(wav(factor * tones("ab cd")), "a.wav") for factor in (0.2, 1.0))
    assert quiet.shape == (1 + len(tones("ab cd")) // 80, front_end.n_feature)
    torch.testing.assert_close(loud.mean(0), torch.zeros(20), rtol=0, atol=1e-5)
    torch.testing.assert_close(loud.square().mean(0), torch.ones(20), rtol=0, atol=1e-4)
    assert (quiet - loud).abs().mean() < 0.2, "loudness counts little"
    plain = Waveforms(RATE_HZ, n_mel=20, normalize=False)
    assert (
        plain(wav(0.2 * tones("ab cd")), "a.wav") - plain(wav(tones("ab cd")), "a.wav")
    ).abs().mean() > 1


def test_another_rate_is_brought_to_one():
    twice = np.repeat(tones("abcd"), 2)  # crude, but its tones are where they were
    front_end = Waveforms(RATE_HZ, n_mel=20)
    slow = front_end(wav(tones("abcd")), "a.wav")
    fast = front_end(wav(twice, 2 * RATE_HZ), "a.wav")
    assert slow.shape == fast.shape
    assert (slow.argmax(1) == fast.argmax(1)).float().mean() > 0.8


def test_ready_features_get_their_slopes():
    values = np.random.default_rng(0).normal(size=(12, 13))
    features = Frames(13, 2, normalize=False)(cepstra(values), "a.mfc")
    own = torch.from_numpy(values).float()
    torch.testing.assert_close(features, torch.cat([own, deltas(own), deltas(deltas(own))], 1))
    assert Frames(13).shown(cepstra(values), "a.mfc").shape == (12, 13)
    assert Frames(13).waveform(cepstra(values), "a.mfc") is None


def test_settings_that_cannot_be_are_refused_at_once():
    with pytest.raises(ValueError, match="n_mel=400"):
        Waveforms(8000, n_mel=400)
    with torch.device("meta"):  # where `lslm plan` builds models
        front_end = Waveforms(RATE_HZ, n_mel=20)
    assert front_end(wav(tones("a")), "a.wav").device.type == "cpu"


def test_flac_keeps_16_bits():
    waveform = read_audio(wav(tones("abc")), "a.wav", RATE_HZ)
    again = read_audio(encoded(waveform, FLAC), "a.flac", RATE_HZ)
    torch.testing.assert_close(again.samples, waveform.samples, rtol=0, atol=2**-15)
    assert len(encoded(waveform, FLAC)) < len(wav(tones("abc")))


def test_mp3_is_a_fraction_of_it_and_lasts_as_long():
    waveform = read_audio(wav(tones("abcd" * 20)), "a.wav", RATE_HZ)
    assert encodings(RATE_HZ) == [FLAC, MP3]
    assert encodings(10_000) == [FLAC], "a rate that MP3 has not"
    data = encoded(waveform, MP3)
    assert len(data) < len(encoded(waveform, FLAC)) / 2
    again = read_audio(data, "a.mp3", RATE_HZ)
    assert len(again.samples) == pytest.approx(len(waveform.samples), rel=0.05)
