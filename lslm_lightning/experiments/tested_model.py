"""Model of a run whose checkpoint another run has tested: its scores in MLflow, and its
registration.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.experiments.mlflow_model import model_facts, write_model
from lslm_lightning.experiments.synchronization import may_register, reopened
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import differing, read_config
from lslm_lightning.runs.integrity import weights_digest

if TYPE_CHECKING:
    from lslm_lightning.contracts import Example
    from lslm_lightning.tracking.tracker import Tracker
    from lslm_lightning.training.task import Task
    from lslm_lightning.types import JsonObject


def link_scores(tracker: "Tracker", checkpoint: Path) -> None:
    """Link the scores of a test to the model of the checkpoint, where both are in one store and the
    model was tested as its run recorded it.

    Args:
        tracker: tracker of the run that tested.
        checkpoint: checkpoint that it tested.
    """
    directory = RunDirectory.of_checkpoint(checkpoint)
    facts = directory.beginning.get("model") or {}
    if not facts.get("model_id") or not is_stored_with(directory, tracker):
        return
    if weights_digest(checkpoint) != facts.get("checkpoint"):
        return
    if other := other_settings(directory, RunDirectory(tracker.directory)):
        print(
            f"the scores are not linked to the model in MLflow: its run has other values of {other}"
        )
        return
    tracker.log_tested_model(facts)


def is_stored_with(directory: RunDirectory, tracker: "Tracker") -> bool:
    """Return whether a run, whose project may have been moved, is in the store of a tracker."""
    from lslm_lightning.tracking.store import Store, store_beside

    noted = directory.beginning
    store = Store(noted.get("store") or "none")
    if store.file:
        store = Store(f"sqlite:///{store_beside(store.file, noted, directory.path.absolute())}")
    return store.is_same(tracker.store)


def other_settings(directory: RunDirectory, test: RunDirectory) -> str:
    """Return the names of the settings of the model that a test of a run has changed; empty if
    there are none.
    """
    first, second = (read_config(each.config)["model"] for each in (directory, test))
    return ", ".join(f"`{name}`" for name, *_ in differing(first, second, "model"))


def register(
    name: str, checkpoint: Path, task: "Task", example: "Example | None", test: RunDirectory
) -> "JsonObject":
    """Register the model of a finished run under a name, unless it is registered so.

    Args:
        checkpoint: best checkpoint of the run.
        task: task of the run.
        example: example whose source is the input example.
        test: directory of the test that registers it, whose model must have the settings of the
            run: they become those of its predictions.

    Returns:
        The facts of the model; empty if nothing was registered, which a line explains.

    Raises:
        ValueError: the run is being trained, or was never recorded in MLflow.
        OSError: the run directory cannot be read.
        TrackingError: MLflow does not answer, or the run was deleted there.
    """
    directory = RunDirectory.of_checkpoint(checkpoint)
    if checkpoint.resolve() != directory.best.resolve():
        print(f"the model is not registered as {name}: ckpt_path must be {directory.best}")
        return {}
    if other := other_settings(directory, test):
        print(
            f"the model is not registered as {name}: its run has other values of {other}; leave "
            "them unchanged in the test"
        )
        return {}
    facts = model_facts(task, directory, name, example)
    known = directory.beginning.get("model") or {}
    is_known = all(known.get(key) == facts[key] for key in ("checkpoint", "registered"))
    if (is_known and known.get("version")) or not may_register(name, directory):
        return {}
    with reopened(directory) as tracker:
        tracker.log_model(facts, partial(write_model, directory=directory))
        tracker.flush()
    return tracker.model
