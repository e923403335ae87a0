"""Report of one run: the sections that are the same for every task, followed by the task's
sections.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Columns,
    Facts,
    Folded,
    Interval,
    Missing,
    Report,
    Section,
    Settings,
)
from lslm_lightning.reports.conclusion import NOTHING, Conclusion
from lslm_lightning.reports.figures import Curves, Histogram, Series
from lslm_lightning.reports.formatting import counted, decimals, duration, number
from lslm_lightning.reports.intervals import Intervals
from lslm_lightning.reports.samples import Samples
from lslm_lightning.reports.scores import ScoreTable, heading_of

VALIDATION = ("val", "validation")


class Logged(TypedDict):
    """Logged value of a run: one line of its `metrics.jsonl`, which may have further keys."""

    step: int
    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts about a run, with everything needed to repeat it. None means "not recorded".

    Attributes:
        versions: version of each package.
        more: further facts by name.
        hyperparameters: line of text about the model or its training, by title.
    """

    task: str
    name: str
    corpus: str | None = None
    corpus_digest: str | None = None
    licence: str | None = None
    tokenizer: str | None = None
    model: str | None = None
    n_parameter: int | None = None
    seed: int | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    started: str = ""
    seconds: float | None = None
    tokens_per_second: float | None = None
    more: Mapping[str, Cell] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)


def run_report(
    facts: RunFacts,
    scores: ScoreTable,
    rows: Iterable[Logged],
    lengths: Section | None = None,
    samples: Samples | None = None,
    sections: Sequence[Section] = (),
    conclusion: Conclusion = NOTHING,
    headline: str = "",
) -> Report:
    """Return the report of a run: scores, run details, learning curves, lengths, samples, and then
    `sections`.

    Args:
        scores: the first system is the run itself, the others are baselines.
        rows: all logged values, in any order.
        lengths: section made by `length_section`.
        sections: sections of the task, placed last.
        conclusion: comparison of the run with its baselines, shown at the top of the page.
        headline: name of the main metric; by default the metric of the first score.
    """
    curves = learning_curves(rows)
    parts = [
        Section("Scores", [*interval_figures(scores, headline), scores])
        if scores.systems
        else None,
        model_section(facts),
        run_details_section(facts),
        Section("Learning curves", curves) if curves else None,
        lengths,
        Section("Samples", [samples]) if samples and samples.samples else None,
        *sections,
    ]
    kicker = facts.task.replace("_", " ").capitalize()
    score = _lead(facts, scores, headline)
    shown = [part for part in parts if part]
    if not conclusion.summary:
        return Report(facts.name, shown, score, kicker, facts.started)
    details = [each for each in (score, *conclusion.details) if each]
    return Report(facts.name, shown, conclusion.summary, kicker, facts.started, details)


def interval_figures(scores: ScoreTable, headline: str) -> list[Intervals]:
    """Return a figure of all scores in the metric `headline`, in a list. The list is empty if fewer
    than two systems have such a score.
    """
    found = {
        name: score
        for name, own in scores.systems.items()
        if (score := headline_score(own, headline)) and math.isfinite(score.value)
    }
    run = next(iter(scores.systems), "")
    return [Intervals(found, run)] if len(found) > 1 else []


def headline_score(scores: Sequence[Score], headline: str) -> Score | None:
    """Return the score in the metric `headline`, or the first score if none is in this metric."""
    return next((score for score in scores if score.metric == headline), next(iter(scores), None))


def _lead(facts: RunFacts, scores: ScoreTable, headline: str) -> str:
    """Return one sentence with the `headline` score of the first system; "" if it has none."""
    own = next((system for system in scores.systems.values() if system), ())
    first = headline_score(own, headline)
    if first is None or math.isnan(first.value):
        return ""
    places = decimals([first.value])
    interval = (
        ""
        if first.low is None or first.high is None
        else f" (95 % interval {Interval(first.low, first.high, places)})"
    )
    heading = heading_of(first)
    unit = f" {heading.shown_unit}" if heading.shown_unit else ""
    where = f" on {facts.corpus}" if facts.corpus else ""
    return (
        f"{heading.name} {number(first.value, places)}{unit}{interval}{where}, "
        f"{counted(first.n_example, 'example')}."
    )


def model_section(facts: RunFacts) -> Section | None:
    """Return the section on architecture and hyperparameters; None if they were not recorded."""
    if not facts.hyperparameters:
        return None
    size: dict[str, Cell] = {} if facts.n_parameter is None else {"Parameters": facts.n_parameter}
    return Section("Model and training", [Settings({**facts.hyperparameters, **size})])


def run_details_section(facts: RunFacts) -> Section:
    """Return the section "Run details": facts of a run, the command that repeats it, and package
    versions.
    """

    def known(value: Cell) -> Cell:
        return Missing("not recorded") if value is None else value

    model = {"Model": known(facts.model), "Parameters": known(facts.n_parameter)}
    shown = {
        "Corpus": known(facts.corpus),
        "Licence": known(facts.licence),
        "Digest of the data": known(facts.corpus_digest and Code(facts.corpus_digest)),
        **({} if facts.hyperparameters else model),  # otherwise in a section of their own
        "Tokenizer": known(facts.tokenizer),
        "Seed": known(None if facts.seed is None else str(facts.seed)),
        "Git commit": known(facts.git_commit and Code(facts.git_commit)),
        "Uncommitted changes": known(facts.git_dirty),
        "Device": known(facts.device),
        "Wall time": known(None if facts.seconds is None else duration(facts.seconds)),
        "Tokens per second": known(facts.tokens_per_second),
        **facts.more,
    }
    blocks: list[object] = [Facts(shown)]
    if facts.command:
        blocks.append(Code(facts.command, "To repeat this run"))
    if facts.versions:
        blocks.append(
            Folded(
                f"Versions of {counted(len(facts.versions), 'package')}", [Facts(facts.versions)]
            )
        )
    return Section("Run details", blocks)


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
                Series(split or quantity, list(splits[split]), list(splits[split].values()))
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


def length_section(
    outputs: Mapping[str, Sequence[int]], references: Sequence[int], unit: str = "tokens"
) -> Section:
    """Return the section that compares the lengths of outputs and references.

    Args:
        outputs: lengths of the outputs, by system; at least one system.
        references: lengths of the references.
        unit: unit of the lengths, such as "tokens".
    """
    means = {
        name: float(np.mean(lengths)) if len(lengths) else None
        for name, lengths in {**outputs, "reference": references}.items()
    }
    facts: dict[str, Cell] = {f"Mean of {name}": mean for name, mean in means.items()}
    if means["reference"]:
        facts |= {
            f"Ratio of {name} to reference": mean and mean / means["reference"]
            for name, mean in means.items()
            if name in outputs
        }
    facts |= {
        f"Empty in {name}": int(np.count_nonzero(np.asarray(lengths) == 0))
        for name, lengths in outputs.items()
    }
    (first, lengths), *others = outputs.items()
    values = (
        {first: lengths} | ({"reference": references} if len(references) else {}) | dict(others)
    )
    return Section(
        "Lengths", [Columns([Histogram(values, unit, f"Length in {unit}"), Facts(facts)])]
    )
