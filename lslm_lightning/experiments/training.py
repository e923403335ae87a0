"""Training, validation, test and prediction jobs, from their arguments to their end."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lslm_lightning.configuration.cli import checked_arguments
from lslm_lightning.configuration.errors import cause_of
from lslm_lightning.configuration.lightning_cli_internals import process_rank
from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.experiments.child_process import follow_parent
from lslm_lightning.experiments.endings import EndStatus, WorkError, attach_suggestion
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.job_cli import JobCLI
from lslm_lightning.experiments.job_state import JobState
from lslm_lightning.long_options import long_options
from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.cores import THREADS
from lslm_lightning.training.distributed.launch import (
    DIRECTORY,
    LAUNCHED,
)
from lslm_lightning.training.distributed.worker_monitor import WorkerMonitor, is_worker_failure
from lslm_lightning.training.precision import DECIDED
from lslm_lightning.training.signals import Interrupted, stop_at_once, stopping_signals
from lslm_lightning.training.token_gradients import NotFiniteError


def perform(
    argv: Sequence[str],
    resumed: RunDirectory | None = None,
    handles_signals: bool = True,
    changed: str = "",
) -> RunDirectory:
    """Run the job of a command and return its run directory.

    Args:
        argv: arguments of the command, the subcommand first.
        resumed: directory of the run to resume; None for a new run.
        handles_signals: whether signals that ask the process to stop are handled during the job.
        changed: settings that a resumed run changes and that alter its curves, as arguments.
    """
    is_child = follow_parent()
    with checked_arguments(argv, resumed) as checked:
        for option in long_options(checked):
            if option.name == "seeds":
                i = option.position
                checked[i] = checked[i].replace("--seeds", "--job.seeds", 1)
        state = JobState(checked, resumed, handles_signals, changed)
        run_job(state, is_child)
    assert state.directory is not None
    return state.directory


def run_job(state: JobState, is_child: bool) -> None:
    """Run a job, and close everything that it started.

    Args:
        state: state of the job, not yet started.
        is_child: whether another `lslm` process started this one.
    """
    state.monitor = monitor = WorkerMonitor(lambda: on_worker_lost(state))
    with closing(state, monitor) as end:
        try:
            JobCLI(state)
            end.status = "FINISHED"
        except (Interrupted, KeyboardInterrupt) as error:
            end.status = "KILLED"
            if is_child or process_rank():
                attach_suggestion(error, "")
            elif getattr(error, "suggestion", None) is None and (line := resume_suggestion(state)):
                attach_suggestion(error, line)
            if not process_rank() or not getattr(error, "together", False):
                raise
        except NotFiniteError:
            # the ranks agreed; a failed child would make Lightning kill rank 0 before it has told
            # MLflow
            if not process_rank():
                raise
        except RuntimeError as error:
            if not is_worker_failure(error):
                raise
            raise WorkError(worker_lost_message(state)) from error
        except ValueError as error:
            raise cause_of(error)  # noqa: B904 (as it came, with its own traceback)


class End:
    """Final status of a job, as reported to MLflow."""

    status: EndStatus = "FAILED"


@contextmanager
def closing(state: JobState, monitor: WorkerMonitor) -> Iterator[End]:
    """Handle signals inside the body of the `with` statement, then close everything that the job
    started.

    Signal handlers and environment variables are restored afterwards.

    Args:
        state: state of the job.
        monitor: monitor of the other processes of the job.
    """
    end = End()
    numbers = stopping_signals() if state.handles_signals else []
    before = {number: signal.signal(number, stop_at_once) for number in numbers}
    given = {name: os.environ.get(name) for name in (DIRECTORY, DECIDED, THREADS, *LAUNCHED)}
    monitor.start()
    try:
        yield end
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # nothing interrupts the truth about how it ended
        monitor.stop()
        if state.tracker is not None:
            state.tracker.end(end.status)
        if state.lock is not None:
            state.lock.release()
        if end.status == "FINISHED" and torch.distributed.is_initialized():
            # else its port is taken, and the next command in this process would join it
            torch.distributed.destroy_process_group()
        for name, value in given.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        for number, handler in before.items():
            signal.signal(number, handler)


def resume_suggestion(state: JobState) -> str | None:
    """Return the line that tells how to resume a stopped training; None if it cannot be resumed."""
    if state.resumed or state.directory is None or not state.directory.config.exists():
        return None
    is_parent = state.job is not None and state.job.seeds > 1  # which lslm resume refuses
    if state.arguments[0] not in TRAINING or is_parent:
        return None
    return f"To continue: {command_line(['resume', str(state.directory.path)])}"


def worker_lost_message(state: JobState) -> str:
    """Return the error message for a distributed training in which another process was lost."""
    kept = (
        f"lslm resume {state.directory.path} continues from its last checkpoint"
        if state.directory
        else "nothing was trained yet"
    )
    rank = process_rank()
    if rank or state.monitor is None:
        reason = f"rank {rank} lost its connection to another process"
    else:
        reason = state.monitor.message()
    return f"{reason}; {kept}"


def on_worker_lost(state: JobState) -> None:
    """Mark the run as FAILED in MLflow and print an error, because another process of the training
    was lost.
    """
    print(f"lslm: {worker_lost_message(state)}", file=sys.stderr, flush=True)
    if state.tracker is not None:
        state.tracker.end("FAILED")
