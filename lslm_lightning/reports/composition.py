"""The report of one run, composed from what every task has; a task adds its own sections."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from lslm_lightning.reports.blocks import Cell, Code, Columns, Facts, Folded, Interval, Missing, Report, Section
from lslm_lightning.reports.figures import Curves, Histogram, Series
from lslm_lightning.reports.numerals import counted, decimals, duration, number
from lslm_lightning.reports.samples import Samples
from lslm_lightning.reports.scores import ScoreTable


class Logged(TypedDict):
    """One logged value of a run, as a line of its `metrics.jsonl`; more keys may be there."""

    step: int
    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was run, with all that is needed to run it again; None is "not recorded".

    `corpus_digest` and `git_commit` are shown as they come; `versions` by package; `more` holds further facts under their own names.
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


def run_report(
    facts: RunFacts,
    scores: ScoreTable,
    rows: Iterable[Logged],
    lengths: Section | None = None,
    samples: Samples | None = None,
    sections: Sequence[Section] = (),
    warning: str = "",
) -> Report:
    """A run's report: scores, what was run, learning curves, lengths, samples, then the task's own sections.

    Args:
        scores: the first system is the run itself, whose first score leads the page; others (baselines) stand beside it.
        rows: all that was logged, in any order; see `learning_curves`.
        lengths: from `length_section`.
        warning: a sentence that the page opens with.
    """
    curves = learning_curves(rows)
    parts = [
        Section("Scores", [scores]) if scores.systems else None,
        what_was_run(facts),
        Section("Learning curves", curves) if curves else None,
        lengths,
        Section("Samples", [samples]) if samples and samples.samples else None,
        *sections,
    ]
    kicker = facts.task.replace("_", " ").capitalize()
    lead = f"{warning} {_lead(facts, scores)}".strip()
    return Report(facts.name, [part for part in parts if part], lead, kicker, facts.started)


def _lead(facts: RunFacts, scores: ScoreTable) -> str:
    first = next((score for system in scores.systems.values() for score in system), None)
    if first is None or math.isnan(first.value):
        return ""
    places = decimals([first.value])
    interval = "" if first.low is None else f" ({Interval(first.low, first.high, places)})"
    unit = f" {first.unit}" if first.unit not in ("", first.metric) else ""
    where = f" on {facts.corpus}" if facts.corpus else ""
    return f"{first.metric} {number(first.value, places)}{unit}{interval}{where}, {counted(first.n_example, 'example')}."


def what_was_run(facts: RunFacts) -> Section:
    """The facts of a run, the command that repeats it and the versions it used."""

    def known(value: Cell) -> Cell:
        return Missing("not recorded") if value is None else value

    shown = {
        "Corpus": known(facts.corpus),
        "Licence": known(facts.licence),
        "Digest of the data": known(facts.corpus_digest and Code(facts.corpus_digest)),
        "Model": known(facts.model),
        "Parameters": known(facts.n_parameter),
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
        blocks.append(Folded(f"Versions of {counted(len(facts.versions), 'package')}", [Facts(facts.versions)]))
    return Section("What was run", blocks)


def learning_curves(rows: Iterable[Logged]) -> list[object]:
    """One figure a quantity over steps, "val/loss" and "train/loss" together: what was measured on validation first, the rest folded.

    A name is split at its last "/". Of equal names and steps the last value counts, as after resuming; what was logged once is left out.
    """
    logged: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        split, _, quantity = row["name"].rpartition("/")
        logged.setdefault(quantity, {}).setdefault(split, {})[row["step"]] = math.nan if row["value"] is None else row["value"]
    shown, rest = [], []
    for quantity, splits in logged.items():
        order = sorted(splits, key=lambda split: (split not in ("val", "validation"), split != "train", split))
        series = [Series(split or quantity, list(splits[split]), list(splits[split].values())) for split in order if len(splits[split]) > 1]
        if series:
            curves = Curves(series, caption=quantity.replace("_", " "))
            (shown if "val" in splits or quantity == "loss" else rest).append(curves)
    shown.sort(key=lambda curves: curves.caption != "loss")
    blocks: list[object] = [Columns(shown)] if shown else []
    return [*blocks, Folded(f"{len(rest)} more logged quantities", [Columns(rest)])] if rest else blocks


def length_section(outputs: Mapping[str, Sequence[int]], references: Sequence[int], unit: str = "tokens") -> Section:
    """How long outputs are beside references, in `unit`s; outputs by system (one or more), one length a text."""
    means = {name: float(np.mean(lengths)) if len(lengths) else None for name, lengths in {**outputs, "reference": references}.items()}
    facts: dict[str, Cell] = {f"Mean of {name}": mean for name, mean in means.items()}
    if means["reference"]:
        facts |= {f"Ratio of {name} to reference": mean and mean / means["reference"] for name, mean in means.items() if name in outputs}
    facts |= {f"Empty in {name}": int(np.count_nonzero(np.asarray(lengths) == 0)) for name, lengths in outputs.items()}
    (first, lengths), *others = outputs.items()
    values = {first: lengths} | ({"reference": references} if len(references) else {}) | dict(others)
    return Section("Lengths", [Columns([Histogram(values, unit, f"Length in {unit}"), Facts(facts)])])
