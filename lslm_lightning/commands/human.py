"""`lslm human`: blinded sheets for annotators, and the scores of what comes back."""

import time
from pathlib import Path

from lslm_lightning.commands.arguments import TRUST_HELP, Parser
from lslm_lightning.exit_status import DONE, SettingsError

DESCRIPTION = """Let people rate the outputs of systems: blinded, balanced sheets, and scores with
intervals, agreement and tests of what comes back.

  lslm human sheet "runs/translation/new-*" "runs/translation/old-*" --output rating --per-item 2
  lslm human score rating rating/answers

Run `lslm human sheet --help` and `lslm human score --help`."""
SHEET = """Write a sheet for each annotator, as CSV and as a page that works offline.

  lslm human sheet RUN RUN --output rating --annotators anna,ben,chen --items 100 --per-item 2
  lslm human sheet --evaluation evaluate.yaml --output rating --method pairwise

Methods:
  direct    a score from 0 to 100 for each output, standardized by annotator
  pairwise  which of two outputs is better, or the same
  mqm       errors with a severity (minor, major, critical) and a category

Give annotators the files of OUTPUT/sheets alone: key.json says which system is which. Row ids and
order are random, every system occurs equally often in every part of a sheet, some rows come again,
and some outputs are damaged on purpose, to see who reads them."""
SCORE = """Score filled sheets: systems, differences, agreement of annotators, automatic metrics.

  lslm human score rating rating/answers
  lslm human score rating anna.csv ben.csv --incomplete --leave-out chen

Writes a report and ratings.json into FOLDER. `lslm compare RUN RUN --human FOLDER/ratings.json`
shows the ratings beside the automatic metrics."""


def main(argv: list[str]) -> int:
    """Write sheets or score them; return the exit status."""
    parser = Parser("lslm human", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="sheet | score")
    sheet = commands.add_parser("sheet", help="write sheets for annotators", description=SHEET)
    sheet.add_argument("systems", nargs="*", metavar="RUN", help="runs, as for lslm compare")
    systems = "config of lslm evaluate; RUN are then names of its systems (default: all)"
    sheet.add_argument("--evaluation", metavar="FILE", help=systems)
    sheet.add_argument("--output", required=True, metavar="FOLDER", help="new folder")
    kinds = "direct, pairwise or mqm, see below (default: direct)"
    methods = ("direct", "pairwise", "mqm")
    sheet.add_argument("--method", default="direct", choices=methods, help=kinds)
    names = "names of the annotators, or their number"
    sheet.add_argument("--annotators", default="3", metavar="NAMES", help=names)
    sheet.add_argument("--items", type=int, default=60, metavar="N", help="test examples to rate")
    each = "annotators of each example"
    sheet.add_argument("--per-item", type=int, default=1, metavar="N", help=each)
    again = "share of rows that come again"
    sheet.add_argument("--repeats", type=float, default=0.05, metavar="SHARE", help=again)
    damaged = "share of rows that come again with a damaged output"
    sheet.add_argument("--checks", type=float, default=0.05, metavar="SHARE", help=damaged)
    sheet.add_argument("--reference", action="store_true", help="show the first reference too")
    seed = "seed of all random choices (default: one that nobody knows)"
    sheet.add_argument("--seed", type=int, metavar="N", help=seed)
    sheet.add_argument("--trust", action="store_true", help=TRUST_HELP)
    score = commands.add_parser("score", help="score filled sheets", description=SCORE)
    score.add_argument("folder", metavar="FOLDER", help="folder that has key.json")
    score.add_argument("sheets", nargs="+", metavar="SHEET", help="filled CSV files, or folders")
    gaps = "accept rows without an answer and sheets that are missing"
    score.add_argument("--incomplete", action="store_true", help=gaps)
    out = "do not use the answers of this annotator; may be given several times"
    score.add_argument("--leave-out", action="append", default=[], metavar="NAME", help=out)
    score.add_argument("--trust", action="store_true", help=TRUST_HELP)
    own = parser.parse_args(argv[1:])
    if own.command == "score":
        from lslm_lightning.experiments.human_report import write_human_report

        sheets = [Path(each) for each in own.sheets]
        write_human_report(
            Path(own.folder),
            sheets,
            own.incomplete,
            own.leave_out,
            own.trust,
            time.strftime("%Y-%m-%d %H:%M"),
        )
        return DONE
    if bool(own.systems) == bool(own.evaluation) and not own.systems:
        raise SettingsError("give two runs or more, or --evaluation FILE; lslm human sheet --help")
    from lslm_lightning.experiments.human_sheets import human_sheets, show_sheets
    from lslm_lightning.human.design import SheetPlan, annotator_names

    try:
        plan = SheetPlan(
            own.method,
            annotator_names(own.annotators),
            own.items,
            own.per_item,
            own.repeats,
            own.checks,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    found = human_sheets(
        own.systems,
        own.output,
        plan,
        evaluation=own.evaluation,
        reference=own.reference,
        seed=own.seed,
        trust=own.trust,
    )
    show_sheets(found, own.method)
    return DONE
