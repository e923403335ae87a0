"""Choice of the floating-point precision of a job whose config says `auto`."""

import os

import torch

from lslm_lightning.configuration.lightning_cli_internals import process_rank
from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.training.data import TaskData, rank_zero_print
from lslm_lightning.training.distributed.launch import agree_on_precision
from lslm_lightning.training.precision import (
    AUTO,
    DECIDED,
    HALF,
    SINGLE,
    StepTimes,
    may_be_slow,
    measure_steps,
)
from lslm_lightning.training.task import Task


def decided_precision(
    given: str | int | None,
    subcommand: str,
    trained: str | int | None,
    task: Task,
    data: TaskData,
    device_type: str,
) -> str | int | None:
    """Return `trainer.precision` for this machine, with `auto` resolved.

    `auto` becomes the precision of the run that trained the checkpoint. Without a checkpoint, a
    training command gets the faster of float32 and bfloat16 on this machine, and other commands get
    float32. So does a task without a backbone.

    Args:
        given: the setting `trainer.precision`.
        subcommand: "run", "fit", "validate", "test" or "predict".
        trained: `trainer.precision` of the run that trained the checkpoint; None if unknown.
        device_type: "cpu" or "cuda".
    """
    if given != AUTO:
        return given
    if task.backbone is None:
        return SINGLE
    before = None if trained in (None, AUTO) else str(trained)
    # there may be no training split to measure a step with
    if subcommand not in TRAINING:
        return before or SINGLE
    return before or agree_on_precision(
        process_rank(), lambda: faster_precision(task, data, device_type)
    )


def tell_slow_precision(
    given: str | int | None, task: Task, data: TaskData, device_type: str
) -> None:
    """Print a line if the user chose bfloat16 although it is slower than float32 on this machine.

    Only one process of a job measures and prints.

    Args:
        given: the setting `trainer.precision`.
        device_type: "cpu" or "cuda".
    """
    if given not in (HALF, "bf16") or task.backbone is None or not may_be_slow(device_type):
        return
    if process_rank() or DECIDED in os.environ:
        return
    times = step_times(task, data, device_type)
    if times and times.bfloat16 > times.float32:
        rank_zero_print(
            f"precision: {HALF}, as trainer.precision says; it is slower here "
            f"({times.timing_of(HALF)}), and trainer.precision={AUTO} would take the faster"
        )
    # so that the processes that this one starts do not measure again
    os.environ[DECIDED] = HALF


def faster_precision(task: Task, data: TaskData, device_type: str) -> str:
    """Measure a training step in float32 and in bfloat16, print the result, and return the faster
    precision.

    Args:
        device_type: "cpu" or "cuda".
    """
    times = step_times(task, data, device_type)
    if times is None:
        rank_zero_print(f"precision: {SINGLE} (bfloat16 is not supported on {device_type})")
        return SINGLE
    rank_zero_print(f"precision: {times.faster} ({times.timing_of(times.faster)})")
    return times.faster


def step_times(task: Task, data: TaskData, device_type: str) -> StepTimes | None:
    """Measure the time of a training step in float32 and in bfloat16; None if bfloat16 is not
    supported.

    Args:
        device_type: "cpu" or "cuda".
    """
    return measure_steps(task, data.sizes().usual, torch.device(device_type))
