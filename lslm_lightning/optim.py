"""Learning-rate schedules as pure functions of the step, and which parameters decay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn


class Schedule(ABC):
    """step -> factor on the optimizer's learning rate. Pure: the same (step, n_step) always gives
    the same factor.
    """

    @abstractmethod
    def __call__(self, step: int, n_step: int) -> float:
        """Factor (usually 0..1) for optimizer step `step` (0 is the first) of a run of `n_step`
        steps.
        """


@dataclass(frozen=True)
class _Warmup(Schedule):
    """Linear rise over the first `warmup_steps`, then `_after`."""

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} must not be negative; 0 means no warm-up"
            )

    def __call__(self, step: int, n_step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self._after(step, n_step)

    def _progress(self, step: int, n_step: int) -> float:
        return min(1.0, (step - self.warmup_steps) / max(1, n_step - self.warmup_steps))

    def _after(self, step: int, n_step: int) -> float:
        raise AssertionError("a schedule with warm-up says what comes after it")


@dataclass(frozen=True)
class Constant(_Warmup):
    """1 after the warm-up."""

    def _after(self, step: int, n_step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear(_Warmup):
    """Straight down from 1 to `floor`, which the step after the last would have."""

    floor: float = 0.0

    def _after(self, step: int, n_step: int) -> float:
        return 1.0 - (1.0 - self.floor) * self._progress(step, n_step)


@dataclass(frozen=True)
class Cosine(_Warmup):
    """Half a cosine from 1 to `floor`, which the step after the last would have (Loshchilov and
    Hutter 2017, without restarts).
    """

    floor: float = 0.0

    def _after(self, step: int, n_step: int) -> float:
        return self.floor + (1.0 - self.floor) * 0.5 * (
            1.0 + math.cos(math.pi * self._progress(step, n_step))
        )


@dataclass(frozen=True)
class Trapezoid(_Warmup):
    """1 after the warm-up, and straight down to `floor` in the last `decay_share` of the steps; the
    step after the last would have `floor`.

    Until it comes down it knows no end (Zhai et al. 2022; Hägele et al. 2024), so a budget in
    minutes is settled late and used up.
    """

    decay_share: float = 0.3
    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay_share <= 1:
            raise ValueError(
                f"decay_share={self.decay_share} must be above 0 and at most 1, a share of the "
                "steps"
            )

    def _after(self, step: int, n_step: int) -> float:
        begin = max(self.warmup_steps, n_step - max(1.0, self.decay_share * n_step))
        return 1.0 - (1.0 - self.floor) * min(
            1.0, max(0.0, (step - begin) / max(1.0, n_step - begin))
        )


@dataclass(frozen=True)
class InverseSquareRoot(_Warmup):
    """sqrt(warmup_steps / step) after the warm-up (Vaswani et al. 2017, section 5.3, scaled to a
    peak of 1); knows no end.
    """

    warmup_steps: int = 4000

    def _after(self, step: int, n_step: int) -> float:
        return math.sqrt(max(1, self.warmup_steps) / (step + 1))


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: matrices keep its weight decay, vectors (biases, norm
    gains) have none.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2]},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def n_parameter(parameters: Iterable[nn.Parameter]) -> int:
    """Number of scalars in distinct parameters (tied ones counted once)."""
    return sum({id(p): p.numel() for p in parameters}.values())
