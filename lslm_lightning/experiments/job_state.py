"""State of one job: what it has started and what must be ended, even if its command fails."""

from collections.abc import Sequence
from dataclasses import dataclass

from filelock import FileLock

from lslm_lightning.configuration.job import Job
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.training.distributed.worker_monitor import WorkerMonitor


@dataclass
class JobState:
    """State of one job: its arguments and what it has started so far.

    Args:
        arguments: arguments of the command, the subcommand first.
        resumed: directory of the run that is resumed; None for a new run.
        handles_signals: whether the job handles signals that ask its process to stop.
        changed: settings that a resumed run changes and that alter its curves, as arguments.

    Attributes:
        job: settings of the `job` block, once parsed.
        directory: run directory, once the run has started.
        tracker: tracker of the MLflow run, once the run has started.
        lock: lock of the run directory, held by one of the job's processes.
        monitor: monitor of the other processes of a distributed training.
    """

    arguments: Sequence[str]
    resumed: RunDirectory | None = None
    handles_signals: bool = True
    changed: str = ""
    job: Job | None = None
    directory: RunDirectory | None = None
    tracker: Tracker | None = None
    lock: FileLock | None = None
    monitor: WorkerMonitor | None = None
