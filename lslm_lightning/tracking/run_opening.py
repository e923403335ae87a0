"""Creation of a run in MLflow, or reopening of the run that is recorded in a run directory."""

import getpass
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.tracking.lost import process_tags
from lslm_lightning.tracking.moved_store import record_of
from lslm_lightning.tracking.names import LONGEST_TAG, mlflow_tags
from lslm_lightning.tracking.store import Store, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)


@dataclass
class RunOpening:
    """Operation that creates the MLflow run of a run directory, or reopens it.

    Args:
        store: store that contains the run.
        client: MLflow client of the store.
        task: name of the experiment.
        name: name of the run.
        directory: the run directory.
        tags: tags besides git state, machine and process.
        git: tags of the git state.
        parent_run_id: MLflow run that this run is part of.
        is_at_work: True if the run continues its work in this process, False if it is only synced.

    Attributes:
        known_parameters: names of the parameters that a reopened run has.
        is_replaced: whether a new run was created instead of the recorded one.
    """

    store: Store
    client: "MlflowClient"
    task: str
    name: str
    directory: Path
    tags: Mapping[str, str]
    git: Mapping[str, str]
    parent_run_id: str | None
    is_at_work: bool
    known_parameters: set[str] = field(default_factory=set)
    is_replaced: bool = False

    def create(self, experiment_id: str) -> "Run":
        """Create a run in an experiment of MLflow and return it."""
        tags = {"mlflow.source.name": "lslm", **self.process_tags(), **self.tags}
        if self.parent_run_id:
            tags["mlflow.parentRunId"] = self.parent_run_id
        return self.client.create_run(
            experiment_id, tags=mlflow_tags(tags, self.store.redact), run_name=self.name
        )

    def reopen(self, run_id: str) -> "Run":
        """Return the run with this id, with the status RUNNING if it continues its work.

        A new run is created instead if MLflow does not know the id, or if the run directory is a
        copy of the one that MLflow has recorded.

        Raises:
            TrackingError: the run was deleted.
        """
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return self.replace(f"MLflow at {self.store} does not know run {run_id}")
        if run.info.lifecycle_stage != "active":
            raise TrackingError(
                f"run {run_id} of {self.directory} was deleted in MLflow at {self.store}; restore "
                f"it with `MLFLOW_TRACKING_URI={shlex.quote(str(self.store))} mlflow runs restore "
                f"--run-id {run_id}`, and repeat the command"
            )
        here = str(self.directory.absolute())
        known = run.data.tags.get("lslm.directory", "")
        if known != here and self.is_original(Path(known), run_id):
            return self.replace(
                f"{self.directory} is a copy of {known}, whose run {run_id} is left unchanged"
            )
        self.known_parameters = set(run.data.params)
        self.store.adopt_run(run_id)
        run = self.client.get_run(run_id)  # its artifacts may have moved
        if self.is_at_work:
            self.client.update_run(run_id, status="RUNNING")
            for name, value in mlflow_tags(self.process_tags(), self.store.redact).items():
                self.client.set_tag(run_id, name, value)
        elif known != here:
            self.client.set_tag(run_id, "lslm.directory", here[:LONGEST_TAG])
        return run

    def replace(self, reason: str) -> "Run":
        """Create a new run instead of the recorded one, log a warning with the reason, and return
        the run.
        """
        log.warning("%s: a new run is created instead", reason)
        self.is_replaced = True
        experiment = self.client.get_experiment_by_name(self.task)
        assert experiment is not None, "the store was opened with it"
        return self.create(experiment.experiment_id)

    def is_original(self, directory: Path, run_id: str) -> bool:
        """Return whether `directory`, other than this run directory, records this run in this
        store.
        """
        record = record_of(directory)
        if record.get("run_id") != run_id:
            return False
        if not Store(record.get("store", "none")).is_same(self.store):
            return False
        return not directory.samefile(self.directory)

    def process_tags(self) -> dict[str, str]:
        """Return tags that state the code, the directory, the process and the user of the run."""
        return {
            **self.git,
            "lslm.directory": str(self.directory.absolute()),
            **process_tags(),
            "mlflow.user": user_name(),
        }


def user_name() -> str:
    """Return the name of the user, as MLflow shows it; "unknown" where the system has none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # KeyError before Python 3.13
        return "unknown"
