"""Learning-rate schedules as pure functions of the step, and parameter groups for weight decay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from torch import nn


class Schedule(ABC):
    """Factor on the optimizer's learning rate as a pure function of (step, n_step)."""

    @abstractmethod
    def __call__(self, step: int, n_step: int) -> float:
        """Return the factor, usually between 0 and 1, of optimizer step `step` (0 for the first) in
        a run of `n_step` steps.
        """


@dataclass(frozen=True)
class _Warmup(Schedule):
    """Schedule whose factor rises linearly over the first `warmup_steps` steps; `_after` gives the
    factor of later steps.

    Args:
        warmup_steps: number of steps in which the learning rate rises; 0 for none.
    """

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
        """Return the share (0..1) of the steps after the warm-up that are done before `step`."""
        return min(1.0, (step - self.warmup_steps) / max(1, n_step - self.warmup_steps))

    def _after(self, step: int, n_step: int) -> float:
        """Return the factor of a step after the warm-up."""
        raise AssertionError("a schedule with warm-up defines the factor after it")


@dataclass(frozen=True)
class Constant(_Warmup):
    """Schedule of factor 1 after the warm-up."""

    def _after(self, step: int, n_step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear(_Warmup):
    """Schedule that falls linearly from 1 after the warm-up to `floor`, reached one step after the
    last.

    Args:
        floor: factor at the end.
    """

    floor: float = 0.0

    def _after(self, step: int, n_step: int) -> float:
        return 1.0 - (1.0 - self.floor) * self._progress(step, n_step)


@dataclass(frozen=True)
class Cosine(_Warmup):
    """Schedule that falls by half a cosine from 1 after the warm-up to `floor`, reached one step
    after the last (Loshchilov and Hutter 2017, without restarts).

    Args:
        floor: factor at the end.
    """

    floor: float = 0.0

    def _after(self, step: int, n_step: int) -> float:
        return self.floor + (1.0 - self.floor) * 0.5 * (
            1.0 + math.cos(math.pi * self._progress(step, n_step))
        )


@dataclass(frozen=True)
class WarmupStableDecay(_Warmup):
    """Schedule of factor 1 after the warm-up, which falls linearly to `floor` in the last
    `decay_share` of the steps. `floor` is reached one step after the last.

    Before the decay, the factor does not depend on `n_step` (Zhai et al. 2022; Hägele et al. 2024),
    so the number of steps of a budget in minutes can be decided late.

    Args:
        decay_share: share of all steps, the last ones, in which the learning rate falls.
        floor: factor at the end.
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
        start = max(self.warmup_steps, n_step - max(1.0, self.decay_share * n_step))
        return 1.0 - (1.0 - self.floor) * min(
            1.0, max(0.0, (step - start) / max(1.0, n_step - start))
        )


@dataclass(frozen=True)
class InverseSquareRoot(_Warmup):
    """Schedule of factor sqrt(warmup_steps / step) after the warm-up (Vaswani et al. 2017, section
    5.3, scaled to a peak of 1). It does not depend on `n_step`.

    Args:
        warmup_steps: number of steps in which the learning rate rises; 0 for none.
    """

    warmup_steps: int = 4000

    def _after(self, step: int, n_step: int) -> float:
        return math.sqrt(max(1, self.warmup_steps) / (step + 1))


class ParameterGroup(TypedDict):
    """Parameters, with a weight decay that replaces the optimizer's default if it is given."""

    params: list[nn.Parameter]
    weight_decay: NotRequired[float]


def decay_groups(module: nn.Module) -> list[ParameterGroup]:
    """Return the parameter groups for an optimizer: matrices, with the optimizer's weight decay,
    and vectors (biases, norm gains), without weight decay.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2]},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def n_parameter(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of scalars in the parameters; a parameter that occurs several times counts
    once.
    """
    return sum({id(p): p.numel() for p in parameters}.values())
