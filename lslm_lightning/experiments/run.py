"""Access to a trained run: its scores, predictions, report and model."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Prediction, Score
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    import pandas as pd

    from lslm_lightning.runs.loading import LoadedRun


class Run:
    """Trained run. Its files are read when an attribute is first used. As a path it is the run
    directory.

    Args:
        directory: run directory.

    Attributes:
        path: path of the run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.path = directory.path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {score.value:.4g}" for name, score in self.scores.items())
        return f"Run({str(self.path)!r}{f', {scores}' if scores else ''})"

    @cached_property
    def config(self) -> JsonObject:
        """All settings of the run, as in config.yaml."""
        return read_config(self.directory.config)

    @property
    def mlflow_run_id(self) -> str | None:
        """Id of the run in MLflow; None if it has none."""
        return self.directory.run_id

    @property
    def scores(self) -> Mapping[str, Score]:
        """Test scores by metric name, with confidence intervals and signatures; empty before a
        test.
        """
        path = self.directory.metrics
        return {score.metric: score for score in read_scores(path)} if path.exists() else {}

    @property
    def predictions(self) -> list[Prediction]:
        """Predictions for the test split, in the order of its examples; empty before a test."""
        path = self.directory.predictions / "test.jsonl"
        return read_predictions(path) if path.exists() else []

    @property
    def report(self) -> Path | None:
        """Path of the HTML report; None before a test."""
        page = self.directory.report / "index.html"
        return page if page.exists() else None

    @property
    def history(self) -> "pd.DataFrame":
        """Logged metrics as a DataFrame: one row per step, one column per metric, without system
        metrics.
        """
        import pandas as pd

        rows = pd.read_json(self.directory.curves, lines=True)
        rows = rows[~rows["name"].str.startswith("system/")]
        return rows.pivot_table(index="step", columns="name", values="value", aggfunc="last")

    @cached_property
    def model(self) -> "LoadedRun":
        """Model with the weights of the best checkpoint, its tokenizer and its task."""
        from lslm_lightning.runs.loading import load_run

        return load_run(self.path, trust=True)
