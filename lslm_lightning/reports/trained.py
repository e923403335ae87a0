"""Report sections on the training of several runs: learning curves, and differing settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lslm_lightning.contracts import metric_label
from lslm_lightning.reports.blocks import Cell, Columns, Section, Table, Text
from lslm_lightning.reports.composition import Logged
from lslm_lightning.reports.figures import Curves, Series


@dataclass(frozen=True, slots=True)
class Trained:
    """Training of one run: its name, its settings by dotted name, and all its logged values."""

    name: str
    config: Mapping[str, str]
    logged: Sequence[Logged]

    @property
    def n_token(self) -> float | None:
        """Number of source and target tokens read in training; None if it was not logged."""
        return max(
            (row["value"] or 0.0 for row in self.logged if row["name"] == "train/tokens"),
            default=None,
        )


def training_sections(runs: Sequence[Trained], headline: str) -> list[Section]:
    """Return the sections "Learning curves" and "Config differences"; an empty list for fewer than
    two runs.
    """
    if len(runs) < 2:
        return []
    return [section for section in (curves(runs, headline), config_differences(runs)) if section]


def curves(runs: Sequence[Trained], headline: str) -> Section | None:
    """Return a section with the training loss, the validation loss and the metric `headline` in
    validation, one line per run; None if nothing was logged.
    """
    pictures = []
    for name in dict.fromkeys(("val/loss", f"val/{headline}", "train/loss")):
        series = []
        for run in runs:
            points = {row["step"]: row["value"] for row in run.logged if row["name"] == name}
            if len(points) > 1:
                steps = sorted(points)
                series.append(
                    Series(
                        run.name,
                        steps,
                        [math.nan if (value := points[step]) is None else value for step in steps],
                    )
                )
        if series:
            pictures.append(Curves(series, caption=metric_label(name)))
    return Section("Learning curves", [Columns(pictures)]) if pictures else None


def config_differences(runs: Sequence[Trained]) -> Section:
    """Return a section with a table of the settings that differ between the runs."""
    rows: list[list[Cell]] = []
    for key in dict.fromkeys(key for run in runs for key in run.config):
        values = [run.config.get(key) for run in runs]
        if len(set(values)) > 1:
            rows.append([key, *values])
    if not rows:
        return Section("Config differences", [Text("The configs are equal.")])
    return Section("Config differences", [Table(["setting", *(run.name for run in runs)], rows)])
