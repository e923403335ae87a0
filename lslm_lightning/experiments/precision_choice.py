"""Choice of the precision of a job, where its config says `auto`."""

import os

import torch

from lslm_lightning.configuration.lightning_cli_internals import process_rank
from lslm_lightning.experiments.checkpoint_config import precision_of
from lslm_lightning.experiments.preflight import TRAINING
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
    state: str | None,
    task: Task,
    data: TaskData,
    device_type: str,
) -> str | int | None:
    """Return `trainer.precision` for this machine, with `auto` resolved.

    `auto` becomes the precision of the run that trained `state`, or the faster one for a model that
    is to be trained.

    Args:
        given: the setting.
        state: a checkpoint; None for a model that starts anew.
        device_type: "cpu" or "cuda".
    """
    if given != AUTO:
        return given
    if task.backbone is None:
        return SINGLE
    # there may be no training split to measure a step with
    if subcommand not in TRAINING:
        return precision_of(state) or SINGLE
    return precision_of(state) or agree_on_precision(
        process_rank(), lambda: faster_precision(task, data, device_type)
    )


def tell_slow_precision(
    given: str | int | None, task: Task, data: TaskData, device_type: str
) -> None:
    """Print a line if bfloat16 was chosen and is slower on this machine, in one process."""
    if given not in (HALF, "bf16") or task.backbone is None or not may_be_slow(device_type):
        return
    if process_rank() or DECIDED in os.environ:
        return
    times = step_times(task, data, device_type)
    if times and times.bfloat16 > times.float32:
        rank_zero_print(
            f"precision: {HALF}, as trainer.precision says; it is slower here "
            f"({times.describe(HALF)}), and trainer.precision={AUTO} would take the faster"
        )
    # so that the processes that this one starts do not measure again
    os.environ[DECIDED] = HALF


def faster_precision(task: Task, data: TaskData, device_type: str) -> str:
    """Return the faster precision by measurement, and print the result."""
    times = step_times(task, data, device_type)
    if times is None:
        rank_zero_print(f"precision: {SINGLE} (bfloat16 is not supported on {device_type})")
        return SINGLE
    rank_zero_print(f"precision: {times.faster} ({times.describe(times.faster)})")
    return times.faster


def step_times(task: Task, data: TaskData, device_type: str) -> StepTimes | None:
    """Measure a training step in both precisions; None if bfloat16 is not supported."""
    return measure_steps(task, data.sizes().usual, torch.device(device_type))
