"""State of one job that outlives errors of its command: what was started and must be ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from filelock import FileLock

from lslm_lightning.configuration.job import Job
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.training.distributed.worker_monitor import WorkerMonitor


@dataclass
class JobState:
    """A job and what it has started so far.

    Args:
        arguments: of the command, the subcommand first.
        resumed: directory of the run that is resumed; None for a new run.
        handles_signals: whether the job handles signals that ask its process to stop.

    Attributes:
        job: settings of the block `job`, once they are parsed.
        directory: of the run, once it is started.
        tracker: of the run, once it is started.
        lock: of the run directory, held by one of the job's processes.
        monitor: of the other processes of the training.
    """

    arguments: Sequence[str]
    resumed: RunDirectory | None = None
    handles_signals: bool = True
    job: Job | None = None
    directory: RunDirectory | None = None
    tracker: Tracker | None = None
    lock: FileLock | None = None
    monitor: WorkerMonitor | None = None

    @property
    def subcommand(self) -> str:
        """Subcommand: "run", "fit", "validate", "test" or "predict"."""
        return self.arguments[0]
