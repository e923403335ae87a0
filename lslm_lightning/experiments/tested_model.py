"""Model of a run whose checkpoint another run has tested: its scores in MLflow, and its
registration.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.experiments.mlflow_model import model_facts, write_model
from lslm_lightning.experiments.synchronization import may_register, reopened
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.integrity import weights_digest

if TYPE_CHECKING:
    from lslm_lightning.contracts import Example
    from lslm_lightning.tracking.tracker import Tracker
    from lslm_lightning.training.task import Task
    from lslm_lightning.types import JsonObject


def link_scores(tracker: "Tracker", checkpoint: Path) -> None:
    """Link the scores of a test to the model of the checkpoint, where both are in one store.

    Args:
        tracker: tracker of the run that tested.
        checkpoint: checkpoint that it tested.
    """
    noted = RunDirectory.of_checkpoint(checkpoint).beginning
    facts = noted.get("model") or {}
    is_there = bool(facts.get("model_id")) and noted.get("store") == str(tracker.store)
    if is_there and weights_digest(checkpoint) == facts["checkpoint"]:
        tracker.log_tested_model(facts)


def register(name: str, checkpoint: Path, task: "Task", example: "Example | None") -> "JsonObject":
    """Register the model of a finished run under a name, unless it is registered so.

    Args:
        checkpoint: best checkpoint of the run.
        task: task of the run.
        example: example whose source is the input example.

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
    facts = model_facts(task, directory, name, example)
    known = directory.beginning.get("model") or {}
    is_known = all(known.get(key) == facts[key] for key in ("checkpoint", "registered"))
    if (is_known and known.get("version")) or not may_register(name, directory):
        return {}
    with reopened(directory) as tracker:
        tracker.log_model(facts, partial(write_model, directory=directory))
        tracker.flush()
    return tracker.model
