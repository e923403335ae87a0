"""The file `mlflow.json` of a run directory: what was sent to MLflow, and where."""

import json
from collections.abc import Callable
from pathlib import Path

from lslm_lightning.files import atomic_write
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.types import Json, JsonObject, Settings


class RunRecord:
    """Facts on a run's MLflow run, kept in `mlflow.json`, with which it is resumed and synced.

    Args:
        directory: the run directory.
        warn: receives a line where the file cannot be written.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self.path = directory / "mlflow.json"
        self.warn = warn
        self.facts: JsonObject = {}

    def read(self) -> None:
        """Read the facts of a run that is resumed, if there are any."""
        if self.path.exists():
            self.facts = json.loads(self.path.read_text("utf-8"))

    def get(self, name: str, default: Json = None) -> Json:
        """Return a fact by its name."""
        return self.facts.get(name, default)

    def write(self, facts: Settings) -> None:
        """Add facts, or replace those of the same names.

        Raises:
            OSError: the file cannot be written.
        """
        self.facts |= facts
        atomic_write(self.path, json.dumps(redacted_settings(self.facts)) + "\n")

    def update(self, facts: Settings) -> None:
        """Add facts like `write`, but only warn if that fails."""
        try:
            self.write(facts)
        except OSError as error:
            self.warn(f"mlflow.json: {error.strerror}")
