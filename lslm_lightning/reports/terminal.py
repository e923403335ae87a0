"""Tables of a report in the terminal; every text is text, never markup or an escape sequence."""

from collections.abc import Sequence

from rich.table import Table as RichTable
from rich.text import Text

from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.reports.blocks import Code, Heading, Measure, Missing, Table
from lslm_lightning.reports.numerals import DASH, number
from lslm_lightning.safety.display import safe_text
from lslm_lightning.safety.terminal import console


def show_table(table: Table) -> None:
    """Print a table, and below it why values are missing and its notes, a line each."""
    output = console()
    reasons = table.reasons()
    title = Text(safe_text(table.caption)) if table.caption else None
    drawn = RichTable(title=title, title_justify="left")
    for heading, numeric in zip(table.headings(), table.numeric(), strict=True):
        justify = "right" if numeric else "left"
        drawn.add_column(Text(words_of(heading)), justify=justify, overflow="fold")
    places = table.column_places()
    for row in table.rows:
        drawn.add_row(*(cell(value, places[i], reasons) for i, value in enumerate(row)))
    output.print(drawn)
    lines = [f"{DASH} ({number}) {safe_text(reason)}" for number, reason in enumerate(reasons, 1)]
    for line in [*lines, *map(note, table.notes)]:
        output.print(Text(line, "dim"), soft_wrap=not output.is_terminal)


def show_conclusion(sentences: Sequence[str]) -> None:
    """Print how a system compares with others, a sentence a line, the first one in bold."""
    output = console()
    for i, sentence in enumerate(filter(None, sentences)):
        text = Text(safe_text(sentence), "" if i else "bold")
        output.print(text, soft_wrap=not output.is_terminal)  # a line of a log stays one line


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what sanity checks found, a line each; outputs in it are text, never markup."""
    output = console()
    for finding in findings:
        output.print(
            Text(f"! {finding.check} ({finding.where}): {safe_text(finding.words)}", "yellow"),
            soft_wrap=True,
        )


def cell(value: object, places: int | None = None, reasons: Sequence[str] = ()) -> Text:
    """A value as plain text; a missing one has the number of its reason."""
    if isinstance(value, Missing):
        number_of_reason = f"({reasons.index(value.reason) + 1})" if value.reason in reasons else ""
        return Text(f"{DASH} {number_of_reason or safe_text(value.reason)}", "dim")
    if isinstance(value, Measure):
        bounds = f"\n{value.interval}" if value.interval else ""
        return Text.assemble((str(value), "bold" if value.best else ""), (bounds, "dim"))
    if isinstance(value, Code):
        return Text(safe_text(value.text))
    if isinstance(value, Heading):
        return Text(words_of(value))
    if value is None or isinstance(value, int | float):
        return Text(number(value, places))
    return Text(safe_text(value))


def note(value: object) -> str:
    """What stands below a table."""
    return (
        f"{safe_text(value.caption)}: {safe_text(value.text)}"
        if isinstance(value, Code) and value.caption
        else cell(value).plain
    )


def words_of(heading: Heading) -> str:
    """Name, arrow and unit."""
    arrow = {True: " ↑", False: " ↓", None: ""}[heading.higher_is_better]
    return f"{safe_text(heading.name)}{arrow} {heading.shown_unit}".rstrip()
