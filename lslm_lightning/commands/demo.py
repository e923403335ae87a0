"""`lslm demo`: train models for three tasks on built-in corpora."""

import math
import sys
import time
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.experiments.child_process import run_to_its_end
from lslm_lightning.experiments.endings import WorkError

CONFIGS = (
    "configs/language_modeling/docstrings_demo.yaml",
    "configs/translation/cldr_demo.yaml",
    "configs/summarization/docstrings_demo.yaml",
)

DESCRIPTION = """Train, test and report three tasks on corpora that need no download, in 8 minutes.

  lslm demo
  lslm demo --minutes 0.5
  lslm demo --root /tmp/demo"""


def main(argv: list[str]) -> int:
    """Train three demo configs one after the other, print the paths of their reports, and return
    the exit status.
    """
    parser = Parser("lslm demo", description=DESCRIPTION)
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--minutes", type=float, metavar="M", help="train each model this long")
    arguments = parser.parse_args(argv[1:])
    minutes = arguments.minutes
    if minutes is not None and not 0 < minutes < math.inf:
        parser.error(f"--minutes={minutes:g} must be a number above 0, such as 0.5")
    limit = [] if minutes is None else ["--job.minutes", f"{minutes:g}"]
    began = time.monotonic()
    failed = []
    before = set(Path(arguments.root).glob("*/*/report/index.html"))
    for config in CONFIGS:
        run = ["run", "--config", config, *limit]
        print(f"\n=== lslm {' '.join(run)}", flush=True)
        run += ["--job.root", arguments.root]
        if run_to_its_end([sys.executable, "-m", "lslm_lightning", *run]):
            failed.append(config)
    print(f"\nthe demo took {(time.monotonic() - began) / 60:.1f} minutes")
    for page in sorted(set(Path(arguments.root).glob("*/*/report/index.html")) - before):
        print(f"  report  {page}")
    print("  lslm ui opens the runs in MLflow; lslm generate RUN TEXT uses a model")
    if failed:
        raise WorkError(f"{len(failed)} of {len(CONFIGS)} runs failed: {', '.join(failed)}")
    return 0
