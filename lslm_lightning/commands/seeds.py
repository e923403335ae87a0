"""`lslm run --seeds N`: the same experiment with N seeds, as child runs of one parent."""

import json
import math
import os
import statistics
import sys
from pathlib import Path

from lslm_lightning.commands.process import run_to_its_end
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.loading import read_config
from lslm_lightning.tracking import Tracker


def run_seeds(n: int, first: int, parent: RunDirectory, tracker: Tracker) -> None:
    """Train seeds first, first + 1, ... one after the other; the parent keeps mean and deviation of every score.

    Raises:
        RuntimeError: a child failed; the others were trained all the same.
    """
    shuffles = "seed" in read_config(parent.config)["data"]["init_args"]
    failed, scores = [], {}
    for seed in range(first, first + n):
        name = f"{parent.path.name}-seed-{seed}"
        words = [word for word in sys.argv[1:] if word != "--debug"]
        command = [sys.executable, "-m", "lslm_lightning", *words, "--job.seeds=1", f"--seed_everything={seed}"]
        command += [f"--data.seed={seed}"] if shuffles else []  # a batch order of its own, as well as weights and dropout
        command += [f"--job.parent={tracker.version}", f"--job.name={name}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))}
        print(f"seed {seed}", flush=True)
        status = run_to_its_end(command, environment)
        written = sorted(parent.path.parent.glob(f"{name}-*/metrics.json"), key=os.path.getmtime)
        if status or not written:
            failed.append(seed)
        else:
            scores[seed] = read_scores(written[-1])
    summary = summarize(scores)
    parent.metrics.write_text(json.dumps({"seeds": n, "summary": summary}, indent=1) + "\n")
    show(summary, n, tracker)
    tracker.log_artifact(parent.metrics)
    if failed:
        raise RuntimeError(f"seeds {failed} failed; the others are in {parent.path.parent}")


def read_scores(path: Path) -> dict[str, float]:
    """Value by metric of a run's metrics.json, without those that have none."""
    values = {score["metric"]: score["value"] for score in json.loads(path.read_text("utf-8"))["scores"]}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def summarize(scores: dict[int, dict[str, float]]) -> dict[str, dict]:
    """By metric: mean, sample deviation (none for a single value), and the value of each seed that has one."""
    summary = {}
    for name in dict.fromkeys(name for of_seed in scores.values() for name in of_seed):
        values = {seed: of_seed[name] for seed, of_seed in scores.items() if name in of_seed}
        deviation = statistics.stdev(values.values()) if len(values) > 1 else None
        summary[name] = {"mean": statistics.fmean(values.values()), "deviation": deviation, "values": values}
    return summary


def show(summary: dict[str, dict], n: int, tracker: Tracker) -> None:
    """Print and log what `summarize` found in `n` seeds."""
    for name, row in summary.items():
        mean, deviation, n_value = row["mean"], row["deviation"], len(row["values"])
        logged = {f"test/{name}": mean} | ({} if deviation is None else {f"test/{name}_deviation": deviation})
        tracker.log_metrics(logged, step=0)
        spread = "" if deviation is None else f" ± {deviation:.2g}"
        print(f"{name}: {mean:.4g}{spread} over {n_value if n_value == n else f'{n_value} of {n}'} seeds")
