"""Training loss compiled by `torch.compile`, and the decision whether compiling pays."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lslm_lightning.models.backbone import Backbone
    from lslm_lightning.training.batches import Batch
    from lslm_lightning.training.task import Task

AUTO: Literal["auto"] = "auto"
Compile: TypeAlias = bool | Literal["auto"]

PAYBACK = 2.0  # a compiled step must save so many times the seconds that compiling takes
# what compiling costs at least and saves at most, for runs too short to try it
LEAST_SECONDS = 10.0
MOST_SAVED = 0.5
# timed pairs of steps, at most, and seconds after which no more are timed
N_ROUND = 7
SECONDS = 2.0


@dataclass(frozen=True)
class CompiledTimes:
    """Seconds of one forward and backward pass as it is and compiled, and those that compiling
    took.
    """

    eager: float
    compiled: float
    compiling: float

    def pays(self, n_batch: float) -> bool:
        """Return whether the compiled step saves at least `PAYBACK` times the seconds of compiling
        in a run of `n_batch` micro-batches.
        """
        return (self.eager - self.compiled) * n_batch >= PAYBACK * self.compiling


def may_pay(eager: float, n_batch: float) -> bool:
    """Return whether a run is long enough to try compiling: whether it would pay if it took no more
    than `LEAST_SECONDS` and saved as much as `MOST_SAVED` of each step.

    Args:
        eager: seconds of a forward and backward pass without compiling.
        n_batch: number of micro-batches of the run.
    """
    return CompiledTimes(eager, (1 - MOST_SAVED) * eager, LEAST_SECONDS).pays(n_batch)


class CompiledLoss:
    """Loss of a task, compiled by `torch.compile` as one graph, the loss included.

    It is compiled once, for the batch given to `compiling`, and never again: a batch that the graph
    does not fit, such as a shorter last one of an epoch, is computed without it. So a batch alone
    decides how it is computed, not the batches before it, and a training that resumes repeats the
    bits of one that was not interrupted.

    The task and its weights stay as they are; a copy of the task is computed by the same graph.
    """

    def __init__(self) -> None:
        # a code object of its own: torch keeps graphs by code, and only a few for each
        own = FunctionType(loss_of.__code__.replace(), loss_of.__globals__)
        self._loss: Callable[[Task, Any, float], Tensor] = torch.compile(
            own, fullgraph=True, dynamic=False
        )

    def compiling(self, task: "Task", batch: "Batch", label_smoothing: float) -> Tensor:
        """Compile the loss for a batch, and return its value. The gradient may be compiled only
        when it is first computed.

        Raises:
            RuntimeError: torch cannot compile it here.
        """
        return self._loss(task, batch, label_smoothing)

    def __call__(self, task: "Task", batch: "Batch", label_smoothing: float) -> Tensor:
        """Return the loss of a batch, as `task.loss` does."""
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._loss(task, batch, label_smoothing)


def loss_of(task: "Task", batch: "Batch", label_smoothing: float) -> Tensor:
    """Return the loss of a batch; what is compiled."""
    return task.loss(batch, label_smoothing)


def shortest_times(
    eager: Callable[[], None],
    compiled: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Return the shortest seconds of both steps. They alternate, so that other work on the machine
    slows both.

    Args:
        clock: returns seconds since a fixed moment.
    """
    best = [float("inf"), float("inf")]
    began = clock()
    for number in range(1 + N_ROUND):
        for i, step in enumerate((eager, compiled)):
            since = clock()
            step()
            if number:  # the first of each kind prepares kernels
                best[i] = min(best[i], clock() - since)
        if number and clock() - began > SECONDS:
            break
    return best[0], best[1]


def checked_compile(given: Compile, backbone: "Backbone") -> Compile:
    """Return the setting `compile` of a task, which must suit its backbone.

    Raises:
        ValueError: the steps of this backbone cannot be compiled, and they must be.
    """
    if given is True and not backbone.can_compile:
        raise ValueError(
            f"model.compile=true: training steps of {type(backbone).__name__} cannot be compiled; "
            "set it to false or auto, or choose a Transformer"
        )
    return given


def first_line(error: BaseException) -> str:
    """Return the first line of the reason why torch could not compile, without the name of the
    backend.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(cause).__name__
