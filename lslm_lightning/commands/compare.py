"""`lslm compare RUN RUN ...`: compare finished runs. `lslm compare --experiment TASK`: table of all
runs in MLflow.
"""

import sys
from functools import partial
from pathlib import Path

from lslm_lightning.commands.arguments import TRUST_HELP, Parser
from lslm_lightning.exit_status import WRONG_ARGUMENTS
from lslm_lightning.files import check_place
from lslm_lightning.metrics.resampling import TEST_RESAMPLES

DESCRIPTION = """Compare finished runs in one report: scores with intervals, paired tests,
differences in their configs, curves, costs, outputs.

  lslm compare runs/translation/a-1234abcd runs/translation/b-5678abcd
  lslm compare --experiment translation --metric test/bleu --csv scores.csv

A RUN is a run directory, an MLflow run id, models:/NAME@best, or a pattern in quotes for the newest
run that matches; the parent of several seeds (lslm run --seeds) stands for its children, and two
such parents are compared by a test that accounts for the variation between seeds. Scores with
different signatures or test sets are shown and not ranked; test sets are equal if their languages,
sources and references are, in order, whatever the files and ids. Of an experiment all finished runs
are shown; those with the same test set and signature stand together, the best first."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm compare", description=DESCRIPTION)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="finished runs, two or more")
    of = parser.add_argument_group("Input")
    whole = "instead of runs: all runs of an MLflow experiment, which is named after the task"
    of.add_argument("--experiment", metavar="TASK", help=whole)
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    of = parser.add_argument_group("Scores")
    lead = "metric to sort by (with --experiment), or to lead with, such as test/bleu"
    of.add_argument("--metric", help=f"{lead} (default: that of the task)")
    resamples = "resamples of intervals and paired tests"
    of.add_argument("--n-resample", type=int, default=TEST_RESAMPLES, metavar="N", help=resamples)
    people = "ratings.json of lslm human score, shown beside the other metrics"
    of.add_argument("--human", metavar="FILE", help=people)
    of = parser.add_argument_group("Output")
    of.add_argument("--csv", metavar="FILE", help="write the table of scores to this file too")
    folder = "folder of the report (default: runs/<task>/compare-<runs>)"
    of.add_argument("--output", metavar="FOLDER", help=folder)
    return parser


def main(argv: list[str]) -> int:
    """Compare runs, print the table and write the report; return the exit status."""
    own = arguments().parse_args(argv[1:])
    if bool(own.experiment) == bool(own.runs) or (own.runs and len(own.runs) < 2):
        print(
            "lslm: give two runs or more, or --experiment NAME; lslm compare --help",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    if own.n_resample < 1:
        print(
            f"lslm: --n-resample {own.n_resample} must be at least 1; {TEST_RESAMPLES} suits most "
            "test sets",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    if own.csv:
        check_place(Path(own.csv), "--csv", in_place=True)
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
            human=own.human,
            tell=partial(print, flush=True),
        )
        from lslm_lightning.reports.terminal import show_conclusion, show_findings, show_table

        table = found.scores
        show_conclusion(found.summary)
        show_table(table)
        show_findings(found.findings)
    if own.csv:
        from lslm_lightning.experiments.csv_table import write_csv

        write_csv(table, Path(own.csv))
        print(f"table {own.csv}")
    if own.runs:
        print(f"report {found.report}")
    return 0
