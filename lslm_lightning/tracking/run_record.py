"""File `mlflow.json` of a run directory, which records the data sent to MLflow and the store."""

import json
from collections.abc import Callable
from pathlib import Path

from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import RECORD
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.types import Json, JsonObject, Settings


class RunRecord:
    """Facts about a run in MLflow, kept in `mlflow.json` so that the run can be resumed and synced.

    Args:
        directory: the run directory.
        warn: receives a line if the file cannot be written.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self.path = directory / RECORD
        self.warn = warn
        self.facts: JsonObject = {}

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
        self.facts |= facts
        atomic_write(self.path, json.dumps(redacted_settings(self.facts)) + "\n")

    def update(self, facts: Settings) -> None:
        """Add facts as `write` does, but only warn if the file cannot be written."""
        try:
            self.write(facts)
        except OSError as error:
            self.warn(f"mlflow.json: {error.strerror}")
