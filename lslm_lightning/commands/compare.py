"""`lslm compare RUN RUN ...`: comparison of finished runs. `lslm compare --experiment TASK`: table
of all runs in MLflow.
"""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import WRONG_ARGUMENTS
from lslm_lightning.safety.display import safe_text

if TYPE_CHECKING:
    from lslm_lightning.reports.blocks import Table

DESCRIPTION = """Put finished runs side by side: scores with intervals, paired tests, differences in
their configs, curves, costs, outputs.

  lslm compare runs/translation/a-1234abcd runs/translation/b-5678abcd
  lslm compare --experiment translation --metric test/bleu --csv scores.csv

A RUN is a run directory, an MLflow run id, or a pattern in quotes for the newest run that matches;
the parent of seeds (lslm run --seeds) stands for its children, and two such parents are compared
with the noise of training in mind. Scores whose signatures or test sets differ are shown and not
ranked: a test set is its languages, sources and references in order, whatever the files and ids. Of
an experiment all finished runs are shown; those with one test set and signature stand together, the
best first."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    it = Parser("lslm compare", description=DESCRIPTION)
    it.add_argument("runs", nargs="*", metavar="RUN", help="two or more")
    it.add_argument(
        "--experiment",
        help="in place of runs: all of an MLflow experiment, which is named after the task",
    )
    it.add_argument("--metric", help="sort by it (with --experiment), or lead with it: test/bleu")
    it.add_argument(
        "--n-resample",
        type=int,
        default=10_000,
        metavar="N",
        help="of intervals and paired tests (default 10000)",
    )
    it.add_argument("--csv", metavar="FILE", help="write the table there too")
    it.add_argument(
        "--output", metavar="FOLDER", help="of the report (default: runs/<task>/compare-<runs>)"
    )
    it.add_argument(
        "--trust", action="store_true", help="let configs name classes outside of this project"
    )
    return it


def main(argv: list[str]) -> int:
    """Compare runs, print the table and write the report; return the exit status."""
    own = arguments().parse_args(argv[1:])
    if bool(own.experiment) == bool(own.runs) or (own.runs and len(own.runs) < 2):
        print(
            "lslm: give two runs or more, or --experiment and the name of one; lslm compare --help",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    if own.n_resample < 1:
        print(
            f"lslm: --n-resample {own.n_resample} must be at least 1; 10000 suits most exams",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    if own.experiment:
        from lslm_lightning.experiments.leaderboard import brief, leaderboard
        from lslm_lightning.reports.terminal import show_table

        table = leaderboard(own.experiment, own.metric)
        show_table(brief(table))
    else:
        from lslm_lightning.experiments.comparing import compare

        found = compare(
            own.runs,
            own.metric,
            n_resample=own.n_resample,
            output=own.output,
            trust=own.trust,
        )
        from lslm_lightning.reports.terminal import show_conclusion, show_findings, show_table

        for chosen in found.choices.values():
            print(chosen, flush=True)
        table = found.scores
        show_conclusion(found.summary)
        show_table(table)
        show_findings(found.findings)
    if own.csv:
        write_csv(table, Path(own.csv))
        print(f"table {own.csv}")
    if own.runs:
        print(f"report {found.report}")
    return 0


def write_csv(table: "Table", path: Path) -> None:
    """Write a table as CSV for spreadsheets, with formulas escaped."""
    from lslm_lightning.experiments.comparing import plain

    def shown(value: object) -> object:
        found = plain(value)
        return (
            "" if found is None else escape_csv_formula(found) if isinstance(found, str) else found
        )

    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([escape_csv_formula(heading.column) for heading in table.headings()])
        writer.writerows([shown(cell) for cell in row] for row in table.rows)


def escape_csv_formula(text: str) -> str:
    """Return text that no spreadsheet computes as a formula: an apostrophe goes before it if needed
    (OWASP, CSV Injection).

    It may come after white space, and in full width.
    """
    begins = text.lstrip().startswith(tuple("=+-@＝＋－＠"))
    return (
        f"'{safe_text(text)}" if begins or text.startswith(("\t", "\r", "\n")) else safe_text(text)
    )
