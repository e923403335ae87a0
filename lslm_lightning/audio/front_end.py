"""Front ends: conversion of the bytes of a file to the features that a model reads. T frames, F
features.
"""

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
    """Features (T, F) of a file, and short remarks on conversions or defects, such as "clipped"."""

    features: Tensor
    remarks: tuple[str, ...] = ()


class FrontEnd(ABC):
    """Base class for the computation of features from the bytes of a file; settings are dataclass
    fields.
    """

    @property
    @abstractmethod
    def n_feature(self) -> int:
        """Number of features of a frame."""

    @property
    @abstractmethod
    def frames_per_second(self) -> float: ...

    @abstractmethod
    def read(self, data: bytes, name: str) -> SoundReading:
        """Return the features (T, F) of a file, and remarks on conversions or defects. The features
        are float32, on the CPU, deterministic, with at least one frame.

        Args:
            data: bytes of the file.
            name: name of the file, for messages.

        Raises:
            ValueError: the file is empty, truncated or of another kind; the message is one line
                with the name of the file.
        """

    def __call__(self, data: bytes, name: str) -> Tensor:
        """Return only the features (T, F) of a file."""
        return self.read(data, name).features

    def shown(self, data: bytes, name: str) -> Tensor:
        """Return the features (T, F') to draw in a picture of the file."""
        return self(data, name)

    def waveform(self, data: bytes, name: str) -> Waveform | None:
        """Return the sound of a file; None if the front end reads files without sound."""
        return None


@dataclass(frozen=True)
class Waveforms(FrontEnd):
    """Log-mel features of a sound file (WAV, FLAC, ...) of any sample rate and number of channels.

    Args:
        sample_rate_hz: rate to which all recordings are resampled.
        n_mel: number of mel bands, the features of a frame.
        window_ms: length of a frame in milliseconds.
        hop_ms: distance between frames in milliseconds.
        normalize: scale each feature of a recording to mean 0 and variance 1, which reduces the
            effect of loudness and microphone.
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
        """Return the features without normalization, so that a picture shows loudness."""
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
    """Features read from files in the format of CMU Sphinx, such as cepstra.

    Args:
        n_coefficient: number of coefficients of a frame in the file.
        n_delta: order of the time derivatives to append: 1 appends the slopes of the coefficients,
            2 also the slopes of the slopes.
        normalize: scale each feature of a recording to mean 0 and variance 1.
        frames_per_second: frame rate of the files.
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
        """Return the normalized cepstral coefficients of a file of features, (T, n_coefficient),
        without their derivatives.
        """
        return normalized(read_frames(data, name, self.n_coefficient))

    def read(self, data: bytes, name: str) -> SoundReading:
        parts = [read_frames(data, name, self.n_coefficient)]
        for _ in range(self.n_delta):
            parts.append(deltas(parts[-1]))
        features = torch.cat(parts, 1)
        return SoundReading(normalized(features) if self.normalize else features)
