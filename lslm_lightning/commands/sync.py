"""`lslm sync RUN`: upload records of a run that are missing in MLflow."""

import sys
from glob import glob
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, FAILED
from lslm_lightning.experiments.synchronization import is_comparison, sync

DESCRIPTION = """Upload to MLflow what a run has on disk and MLflow lacks: after the server was not
reachable, or to another store.

  lslm sync runs/translation/multi30k-1a2b3c4d
  MLFLOW_TRACKING_URI=http://elsewhere:5000 lslm sync runs/*/*

Parameters, tags and data sets are uploaded too. Logged points keep their times, so that none is
stored twice. Where MLflow does not know the run, or the folder is a copy of another run's, a new
run is created; restore a run that was deleted in MLflow first. Folders of lslm evaluate and lslm
sweep are skipped: the same command stores those again."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm sync", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directories, or patterns: all that match"
    )
    return parser


def main(argv: list[str]) -> int:
    """Upload missing records of each run in turn, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.runs import find_run, is_pattern

    failed = 0
    references = [
        each
        for given in own.runs
        for each in (sorted(glob(given)) if is_pattern(given) else []) or [given]
    ]
    for reference in references:
        if is_comparison(Path(reference)):
            print(
                f"{reference}: left out, for the same lslm evaluate or lslm sweep stores it again",
                flush=True,
            )
            continue
        try:
            directory = find_run(reference).directory
            print(f"{directory.path}: {sync(directory)}", flush=True)
        except (ValueError, OSError, RuntimeError) as error:  # the others are brought all the same
            failed += 1
            print(f"lslm: {reference}: {error}", file=sys.stderr, flush=True)
    if failed and len(references) > 1:
        print(f"lslm: {failed} of {len(references)} runs were not uploaded", file=sys.stderr)
    return FAILED if failed else DONE
