"""Tables of a report in the terminal; every text is text, never markup or an escape sequence."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lslm_lightning.evaluation.doctor import Finding
from lslm_lightning.reports.blocks import Code, Heading, Measure, Missing, Table
from lslm_lightning.reports.escaping import visible
from lslm_lightning.reports.numerals import DASH, number


def terminal_table(table: Table) -> RichTable:
    """For rich's console; why values are missing and its notes stand below."""
    reasons = table.reasons()
    lines = [f"{DASH} ({number}) {visible(reason)}" for number, reason in enumerate(reasons, 1)]
    notes = "\n".join([*lines, *map(note, table.notes)])
    drawn = RichTable(title=Text(table.caption) if table.caption else None, title_justify="left")
    drawn.caption, drawn.caption_justify = Text(notes) if notes else None, "left"
    for heading, numeric in zip(table.headings(), table.numeric(), strict=True):
        drawn.add_column(Text(words_of(heading)), justify="right" if numeric else "left", overflow="fold")
    places = table.column_places()
    for row in table.rows:
        drawn.add_row(*(cell(value, places[i], reasons) for i, value in enumerate(row)))
    return drawn


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what sanity checks found, a line each; outputs in it are text, never markup."""
    console = Console()
    for finding in findings:
        console.print(Text(f"! {finding.check} ({finding.where}): {visible(finding.words)}", "yellow"), soft_wrap=True)


def cell(value: object, places: int | None = None, reasons: Sequence[str] = ()) -> Text:
    """A value as plain text; a missing one has the number of its reason."""
    if isinstance(value, Missing):
        return Text(f"{DASH} ({reasons.index(value.reason) + 1})" if value.reason in reasons else f"{DASH} {visible(value.reason)}", "dim")
    if isinstance(value, Measure):
        bounds = f"\n{value.interval}" if value.interval else ""
        return Text.assemble((str(value), "bold" if value.best else ""), (bounds, "dim"))
    if isinstance(value, Code):
        return Text(visible(value.text))
    if isinstance(value, Heading):
        return Text(words_of(value))
    if value is None or isinstance(value, int | float):
        return Text(number(value, places))
    return Text(visible(str(value)))


def note(value: object) -> str:
    """What stands below a table."""
    return f"{visible(value.caption)}: {visible(value.text)}" if isinstance(value, Code) and value.caption else cell(value).plain


def words_of(heading: Heading) -> str:
    """Name, arrow and unit."""
    arrow = {True: " ↑", False: " ↓", None: ""}[heading.higher_is_better]
    return f"{visible(heading.name)}{arrow} {heading.shown_unit}".rstrip()
