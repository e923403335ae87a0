"""Report blocks of an audit: a page of its own, and one section for the report of the run."""

from collections.abc import Sequence

from lslm_lightning.auditing.finding import AuditFigure, AuditFinding, AuditTable
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import (
    Cell,
    Folded,
    Heading,
    Measure,
    Report,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.formatting import counted, decimals, number

MARKS = {"ok": "nothing found", "look": "look at this", "unknown": "not measured"}
LEAD = "An audit finds only what it looks for: no finding is no proof that there is nothing."


def audit_report(name: str, task: str, findings: Sequence[AuditFinding], date: str = "") -> Report:
    """Return the page of an audit: a table of all parts, and a section for each.

    Args:
        name: name of the run.
        task: name of the task, shown above the title.
        date: date of the audit.
    """
    sections = [Section("Overview", [overview(findings)]), *map(finding_section, findings)]
    kicker = task.replace("_", " ").capitalize()
    return Report(Verbatim(name), sections, conclusion(findings), kicker, date, (LEAD,))


def audit_section(findings: Sequence[AuditFinding]) -> Section:
    """Return the section "Audit" of the report of a run: the table of all parts."""
    return Section("Audit", [Text(conclusion(findings)), overview(findings), Text(LEAD)])


def conclusion(findings: Sequence[AuditFinding]) -> str:
    """Return the sentence that opens the page: how many parts a person should look at."""
    n_look = sum(finding.severity == "look" for finding in findings)
    n_measured = sum(finding.severity != "unknown" for finding in findings)
    if not n_measured:
        return "No part of the audit could be measured."
    parts = f"{n_measured:,} of {counted(len(findings), 'part')} of the audit"
    if not n_look:
        return f"{parts} could be measured; nothing was found that a person should look at."
    return f"{parts} could be measured; a person should look at {n_look:,} of them."


def overview(findings: Sequence[AuditFinding]) -> Table:
    """Return a table with one row per part: its severity and its summary."""
    rows: list[list[Cell]] = [
        [Term(each.title), Term(MARKS[each.severity]), Term(each.summary[0])] for each in findings
    ]
    return Table(["part", "result", "finding"], rows)


def finding_section(finding: AuditFinding) -> Section:
    """Return the section of one part: summary, figures, tables, examples, limits."""
    blocks: list[object] = [Text(sentence) for sentence in finding.summary]
    if finding.figures:
        blocks.append(figure_table(finding.figures))
    blocks += [shown_table(table) for table in finding.tables if table.rows]
    if finding.examples:
        shown: list[list[Cell]] = [
            [Verbatim(each.text), Term(each.note)] for each in finding.examples
        ]
        blocks.append(
            Table(["beginning of the text", "note"], shown, "Examples, shortened and masked")
        )
    if finding.limits:
        blocks.append(Folded("What this cannot tell", [Text(each) for each in finding.limits]))
    return Section(finding.title, blocks)


def shown_table(table: AuditTable) -> Table:
    """Return the table of a finding; texts are words of the interface, and the numbers of a column
    share their decimals.
    """
    columns = [[cell for cell in column if isinstance(cell, float)] for column in zip(*table.rows)]
    places = [shared_places(column) for column in columns]
    rows: list[list[Cell]] = [
        [
            Term(cell) if isinstance(cell, str) else cell_of(cell, places[i])
            for i, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    return Table([*table.columns], rows, table.caption)


def shared_places(values: Sequence[float | None]) -> int | None:
    """Return the number of decimals that numbers need beside each other: four significant digits of
    the largest, and no zero at the end of all.
    """
    places = decimals(values)
    needed = (len(number(value).partition(".")[2]) for value in values if value is not None)
    return places if places is None else min(places, max(needed, default=0))


def cell_of(value: float | None, places: int | None) -> Cell:
    """Return the cell of a number, with `places` decimals where it is no whole number."""
    return Measure(value, places=places) if isinstance(value, float) else value


def figure_table(figures: Sequence[AuditFigure]) -> Table:
    """Return a table of figures with their units and intervals."""
    rows: list[list[Cell]] = []
    for figure in figures:
        places = shared_places([figure.value, figure.low, figure.high])
        interval = interval_of(figure.low, figure.high, places)
        rows.append([Heading(figure.name, figure.unit), cell_of(figure.value, places), interval])
    has_interval = any(figure.low is not None for figure in figures)
    if not has_interval:
        return Table(["figure", "value"], [row[:2] for row in rows])
    return Table(["figure", "value", "95 % interval"], rows)
