"""Report of a human evaluation: systems, differences, agreement, annotators, and automatic
metrics.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.evaluation.comparison import SIGNIFICANT, Pair
from lslm_lightning.experiments.human_scores import HumanScores, human_scores
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import (
    Cell,
    Heading,
    Measure,
    Report,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.formatting import decimals, number

METHODS = {
    "direct": "direct assessment, 0 to 100",
    "mqm": "errors with a severity (MQM), penalty per output",
    "pairwise": "pairs, share of comparisons won",
}
MEANINGS = {
    "direct": (
        "Standardized: each annotator's mean and spread are made those of all, so that a strict "
        "annotator counts like a mild one. The interval is about other items and other annotators."
    ),
    "mqm": (
        "A minor error counts 1, a major one 5, a critical one 25. The interval is about other "
        "items and other annotators."
    ),
    "pairwise": (
        "Ties count half, and equal outputs are ties. The interval is about other items and other "
        "annotators."
    ),
}


def human_report(scores: HumanScores, name: str, date: str) -> Report:
    """Return the report.

    Args:
        name: name of the evaluation.
        date: date and time as the report shows them.
    """
    sections = [
        Section("Scores", [system_table(scores)]),
        Section("Differences", [pair_table(scores)]) if scores.pairs else None,
        Section("Agreement of annotators", [agreement_table(scores)]),
        Section("Annotators", [annotator_table(scores)]),
        Section("Automatic metrics", [correlation_block(scores)]),
    ]
    return Report(
        Verbatim(name),
        [section for section in sections if section],
        human_lead(scores),
        "Human evaluation",
        date,
    )


def human_lead(scores: HumanScores) -> str:
    """Return the sentence on the best system, and on those that it is significantly better than."""
    is_less = scores.key.method == "mqm"
    ranked = sorted(
        scores.systems, key=lambda name: scores.systems[name].standard, reverse=not is_less
    )
    ranked = [name for name in ranked if scores.systems[name].n]
    best = ranked[0]
    value = number(
        scores.systems[best].standard,
        decimals([scores.systems[name].standard for name in ranked]),
    )
    if len(ranked) == 1:
        return f'"{best}" has the human score {value}.'
    real = [{pair.first, pair.second} for pair in scores.pairs if is_real(pair)]
    beaten = [other for other in ranked[1:] if {best, other} in real]
    others = len(ranked) - 1
    if not beaten:
        return f'"{best}" has the best human score, {value}, but no lead is significant.'
    if len(beaten) == others:
        return f'"{best}" has the best human score, {value}, and the lead is significant.'
    return (
        f'"{best}" has the best human score, {value}; its lead is significant over {len(beaten)} '
        f"of {others} systems."
    )


def is_real(pair: Pair) -> bool:
    """Return whether a difference is significant after correction."""
    return pair.p < SIGNIFICANT


def system_table(scores: HumanScores) -> Table:
    """Return the table of systems, the best first."""
    is_less = scores.key.method == "mqm"
    named = sorted(scores.systems.items(), key=lambda each: each[1].standard, reverse=not is_less)
    places = decimals([own.standard for _, own in named if own.n])
    rows: list[list[Cell]] = [
        [
            name,
            Measure(own.standard, interval_of(own.low, own.high, places), places),
            own.mean,
            own.n,
        ]
        for name, own in named
    ]
    columns: list[Heading | str] = [
        "system",
        Heading("human score", higher_is_better=not is_less),
        Heading("mean as given", higher_is_better=not is_less),
        "ratings",
    ]
    return Table(columns, rows, METHODS[scores.key.method], [MEANINGS[scores.key.method]])


def pair_table(scores: HumanScores) -> Table:
    """Return the table of differences with intervals and corrected p-values."""
    rows: list[list[Cell]] = []
    for pair in scores.pairs:
        low, high = scores.intervals[pair.first, pair.second]
        difference = Measure(pair.difference, interval_of(low, high), best=is_real(pair))
        rows.append([f"{pair.first} − {pair.second}", difference, pair.p])
    note = (
        "The interval is about other items and annotators; p is of a paired randomization test "
        "over items, corrected by Holm's method."
    )
    return Table(["systems", Heading("difference"), "p"], rows, notes=[note])


def agreement_table(scores: HumanScores) -> Table:
    """Return the table of Krippendorff's alpha."""
    rows: list[list[Cell]] = [
        [Term(name), None if math.isnan(value) else value]
        for name, value in scores.agreement.items()
    ]
    note = (
        "1 is perfect agreement, 0 that of chance. Krippendorff asks for 0.8 before conclusions "
        "are drawn, and for 0.667 where tentative ones are acceptable. Scores of translations "
        "rarely reach it, which is why several annotators and many items are averaged."
    )
    return Table(["data and scale", "Krippendorff's alpha"], rows, notes=[note], places=3)


def annotator_table(scores: HumanScores) -> Table:
    """Return the table of the controls of annotators."""
    is_pair = scores.key.method == "pairwise"
    rows: list[list[Cell]] = [
        [
            name,
            own.n,
            own.mean,
            own.deviation,
            own.repeated,
            None if math.isnan(own.difference) else own.difference,
            Term(f"{own.noticed} of {own.checked}"),
        ]
        for name, own in scores.quality.items()
    ]
    changed = "share of repeats that changed" if is_pair else "mean difference of repeats"
    columns: list[Heading | str] = [
        "annotator",
        "rows",
        "mean",
        "deviation",
        "repeats",
        changed,
        "checks noticed",
    ]
    note = (
        "A check shows a damaged output, which must be rated worse. Who notices few rates without "
        "reading: leave these answers out with --leave-out NAME, and say so."
    )
    return Table(columns, rows, notes=[note])


def correlation_block(scores: HumanScores) -> Table | Text:
    """Return the table of correlations with automatic metrics, or the reason why there is none."""
    if scores.no_metrics:
        return Text(f"Not computed: {scores.no_metrics}")
    rows: list[list[Cell]] = [
        [
            each.metric,
            None if math.isnan(each.segments) else each.segments,
            each.n_output,
            None if math.isnan(each.systems) else each.systems,
        ]
        for each in scores.correlations
    ]
    columns = ["metric", "Kendall's tau over outputs", "outputs", "Pearson's r over systems"]
    note = "Positive where a metric and people agree; r needs three systems."
    return Table(columns, rows, notes=[note], places=3)


def write_human_report(
    folder: Path,
    sheets: Sequence[Path],
    incomplete: bool,
    leave_out: Sequence[str],
    trust: bool,
    date: str,
) -> HumanScores:
    """Score filled sheets, print the result, and write the report into the folder; see
    `human_scores` for the arguments.
    """
    from lslm_lightning.reports.page import write_report
    from lslm_lightning.reports.terminal import show_conclusion, show_table

    scores = human_scores(folder, sheets, incomplete, leave_out, trust)
    page = write_report(human_report(scores, folder.absolute().name, date), folder / "report")
    show_conclusion([human_lead(scores)])
    for table in (system_table(scores), agreement_table(scores), annotator_table(scores)):
        show_table(table)
    print(f"ratings {scores.ratings}")
    print(f"report {page}", flush=True)
    return scores
