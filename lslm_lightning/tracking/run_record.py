"""File `mlflow.json` of a run directory, which records the data sent to MLflow and the store."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import RLock

from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import CURVES, ENVIRONMENT, METRICS, RECORD
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.tracking.store import TrackingError
from lslm_lightning.types import Json, JsonObject, Settings

WRITTEN = (CURVES, RECORD, ENVIRONMENT, METRICS)


class RunRecord:
    """Facts about a run in MLflow, kept in `mlflow.json` so that the run can be resumed and synced.

    Threads take turns in changing it.

    Args:
        directory: the run directory.
        warn: receives a line if the file cannot be written.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self.path = directory / RECORD
        self.warn = warn
        self.facts: JsonObject = {}
        self.lock = RLock()

    def read(self) -> None:
        """Read the recorded facts from the file, if it exists."""
        if self.path.exists():
            self.facts = json.loads(self.path.read_text("utf-8"))

    def get(self, name: str, default: Json = None) -> Json:
        """Return a recorded fact by its name."""
        return self.facts.get(name, default)

    def write(self, facts: Settings) -> None:
        """Add facts, or replace facts of the same names, and write the file.

        Raises:
            OSError: the file cannot be written.
        """
        with self.lock:
            self.facts |= facts
            atomic_write(self.path, json.dumps(redacted_settings(self.facts)) + "\n")

    def update(self, facts: Settings) -> None:
        """Add facts as `write` does, but only warn if the file cannot be written."""
        try:
            self.write(facts)
        except OSError as error:
            self.warn(f"mlflow.json: {error.strerror}")

    @property
    def model(self) -> JsonObject:
        """Facts of the logged model; empty if there is none."""
        return dict(self.facts.get("model") or {})

    def begin_model(self, facts: JsonObject) -> None:
        """Record the facts of a model. What the store said of it before is kept if the checkpoint
        and the registered name are the same.
        """
        with self.lock:
            known = self.model
            is_known = all(known.get(name) == facts[name] for name in ("checkpoint", "registered"))
            self.update({"model": {**(known if is_known else {}), **facts}})

    def add_to_model(self, facts: JsonObject) -> JsonObject:
        """Record further facts of the model, and return all that are recorded."""
        with self.lock:
            self.update({"model": {**self.model, **facts}})
            return self.model


def check_links(directory: Path) -> None:
    """Raise TrackingError if a file that the run would write in its directory is a symbolic
    link.
    """
    for name in WRITTEN:
        if (path := directory / name).is_symlink():
            raise TrackingError(
                f"{path} is a symbolic link, and the run would write to its target: remove it"
            )
