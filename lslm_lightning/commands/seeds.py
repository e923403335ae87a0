"""`lslm run --seeds N`: the same experiment with N seeds, as child runs of one parent."""

import json
import os
import statistics
import subprocess
import sys

from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Tracker


def run_seeds(n: int, first: int, parent: RunDirectory, tracker: Tracker) -> None:
    """Train seeds first, first + 1, ... one after the other; the parent keeps mean and deviation of every score.

    Raises:
        RuntimeError: a child failed; the others were trained all the same.
    """
    failed, scores = [], {}
    for seed in range(first, first + n):
        child = parent.path.with_name(f"{parent.path.name}-seed-{seed}")
        words = [w for w in sys.argv[1:] if w != "--debug"]
        command = [sys.executable, "-m", "lslm_lightning", *words, "--job.seeds=1", f"--seed_everything={seed}"]
        command += [f"--job.parent={tracker.version}", f"--job.name={parent.path.name}-seed-{seed}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))}
        print(f"seed {seed}", flush=True)
        if subprocess.run(command, env=environment).returncode:
            failed.append(seed)
            continue
        newest = max(child.parent.glob(f"{child.name}-*/metrics.json"), key=os.path.getmtime)
        for score in json.loads(newest.read_text())["scores"]:
            scores.setdefault(score["metric"], []).append(score["value"])
    summary = {
        name: {"mean": statistics.fmean(values), "deviation": statistics.stdev(values) if len(values) > 1 else 0.0, "values": values}
        for name, values in scores.items()
        if None not in values
    }
    parent.metrics.write_text(json.dumps({"seeds": n, "summary": summary}, indent=1) + "\n")
    for name, row in summary.items():
        tracker.log_metrics({f"test/{name}": row["mean"], f"test/{name}_deviation": row["deviation"]}, step=0)
        print(f"{name}: {row['mean']:.4g} ± {row['deviation']:.2g} over {len(row['values'])} seeds")
    tracker.log_artifact(parent.metrics)
    if failed:
        raise RuntimeError(f"seeds {failed} failed; the others are in {parent.path.parent}")
