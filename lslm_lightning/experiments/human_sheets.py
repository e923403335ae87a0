"""Sheets of a human evaluation, made from systems whose predictions are on disk."""

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from lslm_lightning.experiments.recorded_systems import (
    RecordedSystems,
    systems_of_evaluation,
    systems_of_runs,
)
from lslm_lightning.human.design import ID_LETTERS, SheetPlan, make_sheets, seen
from lslm_lightning.human.key import SHEETS, EvaluationKey, write_key
from lslm_lightning.human.page import write_page
from lslm_lightning.human.sheets import write_sheet
from lslm_lightning.runs.directory import check_name

SECONDS = {"direct": 25, "mqm": 75, "pairwise": 25}  # of one row, about


@dataclass(frozen=True)
class HumanSheets:
    """Sheets that were written.

    Attributes:
        key: path of the key, which annotators must not see.
        sheets: paths of the sheets of each annotator, by name: CSV and page.
        n_row: number of rows of each annotator, by name; 0 without a sheet.
        notes: a line for each reference that is a pattern, with the run it was resolved to.
    """

    key: Path
    sheets: dict[str, tuple[Path, Path]]
    n_row: dict[str, int]
    notes: Sequence[str]


def human_sheets(
    systems: Sequence[str | PathLike[str]],
    folder: str | PathLike[str],
    plan: SheetPlan,
    *,
    evaluation: str | None = None,
    reference: bool = False,
    seed: int | None = None,
    trust: bool = False,
) -> HumanSheets:
    """Write a sheet for each annotator, as CSV and as a page, and the key.

    Args:
        systems: runs, as for `compare`; with `evaluation` names of its systems, or none for all.
        folder: new folder. `sheets/` in it is for annotators; `key.json` is not.
        evaluation: config of `lslm evaluate`, whose predictions on disk are shown.
        reference: show the first reference beside the source.
        seed: seed of all random choices; by default one that nobody knows.
        trust: allow the configs of the runs to name any class.

    Raises:
        ValueError: systems do not compare, have no outputs, or the folder has sheets already.
    """
    target = Path(folder)
    if (target / SHEETS).exists() or (target / "key.json").exists():
        raise ValueError(f"{target} has sheets already; name a new folder, so that none is lost")
    for name in plan.annotators:
        check_name(name, "annotator")
    named = [fspath(each) for each in systems]
    if evaluation:
        found = systems_of_evaluation(named, evaluation)
    else:
        found = systems_of_runs(named, trust)
    outputs = outputs_of_systems(found)
    rng = random.Random(secrets.randbits(64) if seed is None else seed)
    rows = make_sheets(plan, outputs, rng)
    shown = sorted({row.item for own in rows.values() for row in own})
    key = EvaluationKey(
        plan.method,
        found.task,
        found.digest,
        list(outputs),
        evaluation or "",
        [] if evaluation else [str(found.directories[name]) for name in outputs],
        {item: found.examples[item].id for item in shown},
        rows,
    )
    path = write_key(target, key)  # first, since sheets without it are worth nothing
    written = {}
    shown_rows = {name: seen(own) for name, own in rows.items()}
    for name, own in shown_rows.items():
        if not own:
            continue
        paths = (target / SHEETS / f"{name}.csv", target / SHEETS / f"{name}.html")
        write_sheet(paths[0], plan.method, own, found.examples, reference)
        sheet = "".join(rng.choice(ID_LETTERS) for _ in range(12))
        write_page(paths[1], sheet, plan.method, own, found.examples, reference)
        written[name] = paths
    n_row = {name: len(own) for name, own in shown_rows.items()}
    return HumanSheets(path, written, n_row, found.notes)


def outputs_of_systems(systems: RecordedSystems) -> dict[str, list[str]]:
    """Return the outputs of each system in the order of the examples; of several seeds, those of
    the first.

    Raises:
        ValueError: a system wrote no outputs, or the inputs are no texts.
    """
    if any(example.modality != "text" for example in systems.examples):
        raise ValueError(
            "sheets show texts, but these examples are recordings; evaluate transcripts by WER"
        )
    found = {}
    for group in systems.groups.values():
        predictions = systems.entries[group[0]].predictions
        if any(prediction.output is None for prediction in predictions):
            raise ValueError(f"{group[0]} wrote no outputs that people could read")
        found[group[0]] = [prediction.output or "" for prediction in predictions]
    return found


def show_sheets(found: HumanSheets, method: str) -> None:
    """Print where the sheets and the key are, and about how long an annotator needs."""
    for line in found.notes:
        print(line)
    for name, n_row in found.n_row.items():
        if not n_row:
            print(f"no sheet for {name}: all pairs of outputs to choose between are equal")
            continue
        _, page = found.sheets[name]
        minutes = max(1, round(n_row * SECONDS[method] / 60))
        print(f"sheet of {name}: {page} and .csv, {n_row} rows, about {minutes} minutes")
    print(f"key {found.key}: keep it from annotators", flush=True)
