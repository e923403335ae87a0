"""`lslm compare RUN RUN ...`: finished runs on one page. `lslm compare --experiment TASK`: all runs
of MLflow in a table.
"""

import csv
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import WRONG_ARGUMENTS
from lslm_lightning.safety.display import safe_text
from lslm_lightning.safety.redaction import redacted_arguments

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
    """What the command knows."""
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
    """Table in the terminal, report on disk."""
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

        table = leaderboard(own.experiment, own.metric)
        shown = brief(table)
    else:
        from lslm_lightning.runs import choose_run
        from lslm_lightning.runs.finding import check_run

        choices = {run: chosen for run in own.runs if (chosen := choose_run(run, is_tested=True))}
        for run in own.runs:
            if run not in choices:
                check_run(run)
        from lslm_lightning.experiments.comparison import side_by_side
        from lslm_lightning.reports.page import write_report

        for chosen in choices.values():
            print(chosen, flush=True)
        runs = [str(choices[run].path) if run in choices else run for run in own.runs]
        words = {run: str(chosen) for run, chosen in choices.items()}
        shown, report, task, findings = side_by_side(
            runs,
            own.metric,
            own.trust,
            own.n_resample,
            shlex.join(redacted_arguments(["lslm", *argv])),
            words,
        )
        names = "-".join(Path(run).name[:24] for run in runs[:3])
        folder = Path(own.output or f"runs/{task}/compare-{names}-{time.strftime('%Y%m%d-%H%M%S')}")
        table = shown
        page = write_report(report, folder / "report")
    from lslm_lightning.reports.terminal import show_conclusion, show_findings, show_table

    if own.runs:
        show_conclusion([report.lead, *report.details])
    show_table(shown)
    if own.runs:
        show_findings(findings)
    if own.csv:
        write_csv(table, Path(own.csv))
        print(f"table {own.csv}")
    if own.runs:
        print(f"report {page}")
    return 0


def write_csv(table: "Table", path: Path) -> None:
    """The table for a spreadsheet, which must take no text for a formula."""
    from lslm_lightning.reports.blocks import Measure, Missing

    def plain(value: object) -> object:
        if isinstance(value, Measure):
            return value.value
        if value is None or isinstance(value, Missing):
            return ""
        return value if isinstance(value, int | float) else harmless(str(value))

    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([harmless(heading.column) for heading in table.headings()])
        writer.writerows([plain(cell) for cell in row] for row in table.rows)


def harmless(text: str) -> str:
    """The safe text, with an apostrophe before what a spreadsheet would compute (OWASP, CSV
    Injection).

    It may come after white space, and in full width.
    """
    begins = text.lstrip().startswith(tuple("=+-@＝＋－＠"))
    return (
        f"'{safe_text(text)}" if begins or text.startswith(("\t", "\r", "\n")) else safe_text(text)
    )
