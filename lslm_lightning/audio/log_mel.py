"""Log-mel features of sound. n samples, T frames, K frequencies, F mel bins."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def mel_of(hertz: Tensor) -> Tensor:
    """Convert frequencies in Hz to the mel scale of HTK, 2595 log10(1 + f / 700).

    Source: O'Shaughnessy 1987.
    """
    return 2595 * (1 + hertz / 700).log10()


@dataclass(frozen=True)
class LogMel:
    """Log-mel features: natural log of the power in triangular bands with peak 1, evenly spaced on
    HTK's mel scale.

    The first frame is centred on the first sample, and the recording is padded with silence at both
    ends: T = 1 + n // hop. Windows are periodic Hann.

    Args:
        sample_rate_hz: sample rate of the recordings.
        n_mel: number of bands F.
        window_ms: length of a frame in milliseconds.
        hop_ms: distance between frames in milliseconds.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest band; half the sample rate by default.
        floor: lower bound on the power before the logarithm.
    """

    sample_rate_hz: int = 16_000
    n_mel: int = 80
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float | None = None
    floor: float = 1e-10

    def __post_init__(self) -> None:
        nyquist = self.sample_rate_hz / 2
        if not 0 <= self.low_hz < self.highest_hz <= nyquist:
            raise ValueError(
                f"low_hz={self.low_hz} and high_hz={self.high_hz} must rise from 0 to at most "
                f"{nyquist:g}, half the sample rate"
            )
        if not 0 < self.hop_ms <= self.window_ms:
            raise ValueError(
                f"hop_ms={self.hop_ms} must be above 0 and at most window_ms={self.window_ms}"
            )
        if not self.hop:
            raise ValueError(
                f"hop_ms={self.hop_ms} is less than a sample at "
                f"sample_rate_hz={self.sample_rate_hz}; 10 is usual"
            )
        if empty := int((self.filters.sum(0) == 0).sum()):
            raise ValueError(
                f"n_mel={self.n_mel} leaves {empty} bands without a frequency at "
                f"sample_rate_hz={self.sample_rate_hz} and"
                f" window_ms={self.window_ms}; lower it, or take a longer window"
            )

    @property
    def highest_hz(self) -> float:
        return self.sample_rate_hz / 2 if self.high_hz is None else self.high_hz

    @property
    def n_feature(self) -> int:
        return self.n_mel

    @property
    def window(self) -> int:
        """Number of samples in a frame."""
        return round(self.sample_rate_hz * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Number of samples between the starts of consecutive frames."""
        return round(self.sample_rate_hz * self.hop_ms / 1000)

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform: the smallest power of 2 that is at least `window`."""
        return 2 ** math.ceil(math.log2(self.window))

    @cached_property
    def filters(self) -> Tensor:
        """Weight (K, F) float64 of each frequency in each band."""
        frequency = torch.linspace(
            0, self.sample_rate_hz / 2, self.n_fft // 2 + 1, dtype=torch.double
        )
        low, high = mel_of(
            torch.tensor([self.low_hz, self.highest_hz], dtype=torch.double)
        ).tolist()
        # (F + 2,)
        edges = 700 * (
            10 ** (torch.linspace(low, high, self.n_mel + 2, dtype=torch.double) / 2595) - 1
        )
        above = frequency[:, None] - edges  # (K, F + 2)
        rising = above[:, :-2] / edges.diff()[:-1]
        falling = -above[:, 2:] / edges.diff()[1:]
        return torch.minimum(rising, falling).clamp_min(0)

    def __call__(self, samples: Tensor) -> Tensor:
        """Return the features (T, F) of samples (n,), in the dtype of the samples."""
        window = torch.hann_window(self.window, dtype=samples.dtype, device=samples.device)
        spectrum = torch.stft(
            samples,
            self.n_fft,
            self.hop,
            self.window,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )  # (K, T)
        power = spectrum.abs().square().mT  # (T, K)
        return (power @ self.filters.to(power)).clamp_min(self.floor).log()
