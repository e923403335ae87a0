"""Report sections on the training of runs: learning curves, and differing settings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from lslm_lightning.contracts import metric_label
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import Cell, Columns, Folded, Section, Table, Text
from lslm_lightning.reports.figures import Curves, Series

VALIDATION = ("val", "validation")


class Logged(TypedDict):
    """Logged value of a run: one line of its `metrics.jsonl`, which may have further keys."""

    step: int
    name: str
    value: float | None


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
    """Return the section "Learning curves" and, for several runs, "Config differences".

    Of a single run all logged quantities are shown, of several the losses and the metric
    `headline`. Sections without data are left out.
    """
    if len(runs) > 1:
        found = [curves(runs, headline), config_differences(runs)]
        return [section for section in found if section]
    blocks = [block for run in runs for block in learning_curves(run.logged)]
    return [Section("Learning curves", blocks)] if blocks else []


def learning_curves(rows: Iterable[Logged]) -> list[object]:
    """Return one figure of values over steps for each logged quantity.

    A name such as "val/loss" is split at its last "/" into split and quantity. All splits of a
    quantity share one figure. Quantities other than the loss that have no validation values are
    folded. If a name has two values at one step, as after resuming, the later one counts. A name
    logged only once is left out, unless it is the validation of a quantity that has a curve.
    """
    logged: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        split, _, quantity = row["name"].rpartition("/")
        logged.setdefault(quantity, {}).setdefault(split, {})[row["step"]] = (
            math.nan if row["value"] is None else row["value"]
        )
    shown: list[Curves] = []
    rest: list[Curves] = []
    for quantity, splits in logged.items():
        order = sorted(splits, key=lambda split: (split not in VALIDATION, split != "train", split))
        is_curve = any(len(values) > 1 for values in splits.values())
        kept = [split for split in order if len(splits[split]) > 1 or split in VALIDATION]
        if is_curve and kept:
            series = [
                Series(Term(split or quantity), list(splits[split]), list(splits[split].values()))
                for split in kept
            ]
            curves = Curves(series, caption=metric_label(quantity).replace("_", " "))
            (shown if "val" in splits or quantity == "loss" else rest).append(curves)
    shown.sort(key=lambda curves: curves.caption != "loss")
    blocks: list[object] = [Columns(shown)] if shown else []
    return (
        [*blocks, Folded(f"{len(rest)} more logged quantities", [Columns(rest)])]
        if rest
        else blocks
    )


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
    columns = ["setting", *(Verbatim(run.name) for run in runs)]
    return Section("Config differences", [Table(columns, rows)])
