"""From the bytes of a file to the features that a model reads. T frames, F features."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.audio.features import deltas, normalized, read_frames
from lslm_lightning.audio.log_mel import LogMel
from lslm_lightning.audio.waveform import Waveform, read_audio

CLIPPED = 1e-3  # share of samples at full scale from which a recording counts as clipped


class SoundReading(NamedTuple):
    """What a file gives: features (T, F), and what had to be done or is wrong with it, in a word
    each.
    """

    features: Tensor
    remarks: tuple[str, ...] = ()


class FrontEnd(ABC):
    """What is computed of a sound before any network; its settings are the fields of a
    dataclass.
    """

    @property
    @abstractmethod
    def n_feature(self) -> int:
        """F."""

    @property
    @abstractmethod
    def frames_per_second(self) -> float: ...

    @abstractmethod
    def read(self, data: bytes, name: str) -> SoundReading:
        """Features of a file, float32, on the CPU, always the same for the same bytes; at least one
        frame.

        Raises:
            ValueError: the file is empty, cut off, or of another kind; in one line with its name.
        """

    def __call__(self, data: bytes, name: str) -> Tensor:
        """The features alone, (T, F)."""
        return self.read(data, name).features

    def shown(self, data: bytes, name: str) -> Tensor:
        """What a picture of the file shows, (T, features)."""
        return self(data, name)

    def waveform(self, data: bytes, name: str) -> Waveform | None:
        """What can be listened to; None of files that hold no sound."""
        return None


@dataclass(frozen=True)
class Waveforms(FrontEnd):
    """Log-mel features of a sound file (WAV, FLAC, ...) of any rate and number of channels; see
    `LogMel`.

    Args:
        sample_rate_hz: to which all are brought.
        normalize: each feature of a recording to mean 0 and variance 1, so that loudness and
            microphone count less.
    """

    sample_rate_hz: int = 16_000
    n_mel: int = 80
    window_ms: float = 25.0
    hop_ms: float = 10.0
    normalize: bool = True

    def __post_init__(self) -> None:
        with torch.device("cpu"):  # whatever the device that models are being built on
            self.log_mel.filters  # noqa: B018 (refuses what cannot be, and is kept)

    @cached_property
    def log_mel(self) -> LogMel:
        return LogMel(self.sample_rate_hz, self.n_mel, self.window_ms, self.hop_ms)

    @property
    def n_feature(self) -> int:
        return self.n_mel

    @property
    def frames_per_second(self) -> float:
        return 1000 / self.hop_ms

    def waveform(self, data: bytes, name: str) -> Waveform:
        return read_audio(data, name, self.sample_rate_hz)

    def shown(self, data: bytes, name: str) -> Tensor:
        """Without normalizing, so that what is loud looks so."""
        return self.log_mel(self.waveform(data, name).samples)

    def read(self, data: bytes, name: str) -> SoundReading:
        waveform = self.waveform(data, name)
        features = self.log_mel(waveform.samples)
        remarks = {
            "resampled": waveform.original_rate_hz != waveform.sample_rate_hz,
            "with channels averaged": waveform.n_channel > 1,
            "clipped": waveform.clipped > CLIPPED,
        }
        return SoundReading(
            normalized(features) if self.normalize else features,
            tuple(word for word, holds in remarks.items() if holds),
        )


@dataclass(frozen=True)
class Frames(FrontEnd):
    """Files that have features ready, as CMU Sphinx writes its cepstra; see `read_frames`.

    Args:
        n_coefficient: numbers a frame in the file.
        n_delta: how often slopes over time are added: 2 adds those of the coefficients, and those
            of these.
        normalize: as in `Waveforms`.
    """

    n_coefficient: int = 13
    n_delta: int = 2
    normalize: bool = True
    frames_per_second: float = 100.0

    def __post_init__(self) -> None:
        if self.n_coefficient < 1 or self.n_delta < 0:
            raise ValueError(
                f"n_coefficient={self.n_coefficient} must be at least 1 and "
                f"n_delta={self.n_delta} at least 0; 13 and 2 are usual"
            )

    @property
    def n_feature(self) -> int:
        return self.n_coefficient * (1 + self.n_delta)

    def shown(self, data: bytes, name: str) -> Tensor:
        """Without slopes."""
        return normalized(read_frames(data, name, self.n_coefficient))

    def read(self, data: bytes, name: str) -> SoundReading:
        parts = [read_frames(data, name, self.n_coefficient)]
        for _ in range(self.n_delta):
            parts.append(deltas(parts[-1]))
        features = torch.cat(parts, 1)
        return SoundReading(normalized(features) if self.normalize else features)
