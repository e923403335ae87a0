"""Upload of records that exist in a run directory but are missing in MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from lslm_lightning.runs import RunDirectory
    from lslm_lightning.tracking.tracker import Tracker


def is_comparison(folder: Path) -> bool:
    """Return whether a folder holds an evaluation or a sweep. Its MLflow run has no single
    configuration.
    """
    from lslm_lightning.runs import RunDirectory

    own = RunDirectory(folder)
    return own.record.is_file() and own.report.is_dir() and not own.config.exists()


@dataclass(frozen=True, slots=True)
class Brought:
    """Records that were missing in MLflow and have been uploaded: names, and for logged points
    their number.
    """

    n_point: int
    files: list[str]
    parameters: list[str]
    tags: list[str]

    def __str__(self) -> str:
        counts = (
            f"{self.n_point:,} points, {len(self.files)} files, {len(self.parameters)} "
            f"parameters, {len(self.tags)} tags"
        )
        return f"{counts} were missing{''.join(f'  {name}' for name in self.files)}"


def sync(directory: "RunDirectory") -> Brought:
    """Upload the records of a run that MLflow lacks, then verify that MLflow has them.

    Raises:
        ValueError: the run is being trained, or it has no MLflow run.
        TrackingError: MLflow does not answer or did not store everything, or the run was deleted
            there.
    """
    with reopened(directory) as tracker:
        brought = upload(tracker, directory)
    return replace(brought, n_point=tracker.run.n_missing)


@contextmanager
def reopened(directory: "RunDirectory") -> "Iterator[Tracker]":
    """Yield a started tracker of a run that no process works on, which ends as it did before.

    Raises:
        ValueError: the run is being trained, or it has no MLflow run.
        TrackingError: MLflow does not answer, or the run was deleted there.
    """
    from lslm_lightning.runs.directory import locked

    noted = directory.beginning
    if "run_id" not in noted:
        raise ValueError(f"{directory.path} has no mlflow.json: it was never recorded in MLflow")
    lock = locked(directory)
    try:
        tracker = started_tracker(directory)
        try:
            yield tracker
        finally:
            curves = directory.curves
            status = noted.get("ending") or noted.get("status", "RUNNING")
            ended = curves.stat().st_mtime if curves.exists() else None
            # no process is at work here, whatever was noted last
            tracker.end("KILLED" if status == "RUNNING" else status, ended)
    finally:
        lock.release()


def started_tracker(directory: "RunDirectory") -> "Tracker":
    """Start a tracker that continues the MLflow run of a run directory."""
    from lslm_lightning.tracking.store import store_of_run
    from lslm_lightning.tracking.tracker import Tracker

    noted = directory.beginning
    with store_of_run(noted, directory.path):
        tracker = Tracker(
            noted.get("experiment") or directory.path.parent.name,
            directory.path.name,
            directory.path,
            None,
            noted.get("tags", {}),
            system_metrics=False,
            run_id=noted["run_id"],
            again=False,
        )
    tracker.start()
    return tracker


def upload(tracker: "Tracker", directory: "RunDirectory") -> Brought:
    """Upload the records of a run that MLflow lacks, and return what was uploaded.

    Raises:
        TrackingError: MLflow does not answer, or did not store everything.
    """
    from lslm_lightning.tracking import TrackingError

    noted = directory.beginning
    tags = noted.get("tags", {})
    config = noted.get("parameters") or whole_config(directory)
    parameters, missing_tags = tracker.run.missing_records(config, tags)
    tracker.log_hyperparams(config)
    tracker.set_tags(tags)
    tracker.restore_description()
    for each in noted.get("datasets", []):
        tracker.log_dataset(*each)
    for path in sorted(directory.predictions.glob("*.jsonl")):
        if path.stem in ("test", "predict"):
            tracker.log_table(path)
    if (tested := noted.get("tested_model")) and may_link(directory):
        tracker.log_tested_model(tested)
    files = tracker.run.missing_files()
    for name in files:
        tracker.log_artifact(directory.path / name)
    is_queued = log_model(tracker, directory)
    if not tracker.flush():
        raise TrackingError(
            f"MLflow at {tracker.store} does not answer: {'; '.join(tracker.problems)}"
        )
    left = [*tracker.run.missing_files(), *chain(*tracker.run.missing_records(config, tags))]
    left += dict.fromkeys(point.name for point in tracker.run.missing_points())
    if is_queued and tracker.model.get("registered") and not tracker.model.get("version"):
        left.append(f"the model {tracker.model['registered']}")
    if left:
        raise TrackingError(
            f"MLflow at {tracker.store} has not taken {', '.join(left)}; "
            f"{'; '.join(tracker.problems)}"
        )
    return Brought(tracker.run.n_missing, files, parameters, missing_tags)


def log_model(tracker: "Tracker", directory: "RunDirectory") -> bool:
    """Log the model that a run has recorded, unless its best checkpoint is another one by now. A
    model of somebody else's run is not registered: its code would be trusted from then on.

    Returns:
        Whether the model is logged. If it should be registered and is not, a line says why.
    """
    from lslm_lightning.experiments.invocation import command_line
    from lslm_lightning.experiments.mlflow_model import is_model_of, write_model

    facts = directory.beginning.get("model")
    if facts is None:
        return False
    name = facts.get("registered")
    if name and not may_register(name, directory):
        return False
    if is_model_of(facts, directory):
        tracker.log_model(facts, partial(write_model, directory=directory))
        return True
    if name:
        resume = command_line(["resume", str(directory.path)])
        print(
            f"best.ckpt is another one by now than the one recorded for {name}; training to the "
            f"end registers it: {resume}"
        )
    return False


def may_register(name: str, directory: "RunDirectory") -> bool:
    """Return whether this user has made a run, so that its model may be registered; print a line if
    not.

    Args:
        name: name under which it would be registered.
    """
    from lslm_lightning.runs.own_runs import is_own_run

    if is_own_run(directory.config):
        return True
    print(
        f"the model is not registered as {name}: config.yaml of the run was written elsewhere, and "
        "what is registered may run its code; train it here to register it"
    )
    return False


def may_link(directory: "RunDirectory") -> bool:
    """Return whether this user has made a run, so that its scores may be linked to the model which
    it says that it tested; print a line if not.
    """
    from lslm_lightning.runs.own_runs import is_own_run

    if is_own_run(directory.config):
        return True
    print(
        "the scores are not linked to a model in MLflow: config.yaml of the run was written "
        "elsewhere, and its mlflow.json may name any model; test the model here to link them"
    )
    return False


def whole_config(directory: "RunDirectory") -> JsonObject:
    """Return all settings of a run from its config.yaml. Earlier releases logged them as MLflow
    parameters.
    """
    from lslm_lightning.runs.config import read_config

    config = {} if directory.config.is_symlink() else read_config(directory.config)
    config.pop("config", None)
    return config
