"""Tables of a report in the terminal. All text is shown literally, never as markup or an escape
sequence.
"""

from collections.abc import Sequence

from rich.console import JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.reports.blocks import Code, Heading, Interval, Measure, Missing, Table
from lslm_lightning.reports.formatting import DASH, number
from lslm_lightning.reports.words import bracketed, labelled, named, words
from lslm_lightning.safety.display import safe_text
from lslm_lightning.safety.terminal import console


def show_table(table: Table) -> None:
    """Print a table, followed by the reasons for missing values and the notes, one per line."""
    output = console()
    reasons = table.reasons()
    title = Text(safe_text(words(table.caption))) if table.caption else None
    drawn = RichTable(title=title, title_justify="left")
    for heading, numeric in zip(table.headings(), table.numeric(), strict=True):
        justify: JustifyMethod = "right" if numeric else "left"
        drawn.add_column(Text(heading_text(heading)), justify=justify, overflow="fold")
    places = table.column_places()
    for row in table.rows:
        drawn.add_row(*(cell(value, places[i], reasons) for i, value in enumerate(row)))
    output.print(drawn)
    lines = [
        f"{DASH} ({number}) {safe_text(words(reason))}" for number, reason in enumerate(reasons, 1)
    ]
    for line in [*lines, *map(note, table.notes)]:
        output.print(Text(line, "dim"), soft_wrap=not output.is_terminal)


def show_conclusion(sentences: Sequence[str]) -> None:
    """Print a comparison of systems, one sentence per line, the first one in bold."""
    output = console()
    for i, sentence in enumerate(filter(None, sentences)):
        text = Text(safe_text(words(sentence)), "" if i else "bold")
        output.print(text, soft_wrap=not output.is_terminal)  # a line of a log stays one line


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the findings of sanity checks, one per line. Text in them is shown literally, never as
    markup.
    """
    output = console()
    for finding in findings:
        output.print(
            Text(
                f"! {bracketed(words(finding.check), named(finding.where))}"
                f"{safe_text(words(finding.words))}",
                "yellow",
            ),
            soft_wrap=True,
        )


def cell(value: object, places: int | None = None, reasons: Sequence[str] = ()) -> Text:
    """Return a table cell as plain text. A missing value is a dash with the number of its reason in
    `reasons`.
    """
    if isinstance(value, Missing):
        number_of_reason = f"({reasons.index(value.reason) + 1})" if value.reason in reasons else ""
        return Text(f"{DASH} {number_of_reason or safe_text(words(value.reason))}", "dim")
    if isinstance(value, Measure):
        bounds = f"\n{words(str(value.interval))}" if value.interval else ""
        return Text.assemble((str(value), "bold" if value.best else ""), (bounds, "dim"))
    if isinstance(value, Code):
        return Text(safe_text(value.text))
    if isinstance(value, Heading):
        return Text(heading_text(value))
    if value is None or isinstance(value, int | float):
        return Text(number(value, places))
    if isinstance(value, Interval):
        return Text(words(str(value)))
    return Text(safe_text(named(value) if isinstance(value, str) else value))


def note(value: object) -> str:
    """Return the text of a note below a table."""
    if isinstance(value, Code) and value.caption:
        return safe_text(labelled(value.caption, named(value.text)))
    return safe_text(words(value)) if isinstance(value, str) else cell(value).plain


def heading_text(heading: Heading) -> str:
    """Return name, arrow and unit of a heading as text."""
    arrow = {True: " ↑", False: " ↓", None: ""}[heading.higher_is_better]
    return f"{safe_text(words(heading.name))}{arrow} {words(heading.shown_unit)}".rstrip()
