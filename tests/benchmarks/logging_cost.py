"""What tracking costs training: steps of 20 ms, each of them logged to an MLflow server whose
requests take 100 ms longer.
"""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lslm_lightning.tracking.curves import read_points
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import config_path, lslm
from tests.commands.compared_runs import delivered
from tests.support.mlflow_server import mlflow_server
from tests.support.slow_connection import Wire

# seconds
DELAY = 0.1
STEP = 0.02
CONFIG = "language_modeling/docstrings_demo.yaml"
SIZES = {"n_decoder_layer": 2, "n_head": 2, "d_model": 128, "d_feedforward": 256}
SETTINGS = (
    *(f"--model.backbone.{name}={value}" for name, value in SIZES.items()),
    *(
        "--model.context=64",
        "--data.context=64",
        "--data.tokenizer=lslm_lightning.text.recipes.Bytes",
    ),
    *(
        "--trainer.precision=32-true",
        "--trainer.log_every_n_steps=1",
        "--trainer.limit_val_batches=0",
        "--job.save_every_minutes=null",
    ),
)


def cost(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """`lslm fit` on one thread, the server and its slow wire in processes of their own; seconds a
    step of every block, and lost points.
    """
    n_turn, n_settling, n_timed = (2, 5, 20) if smoke else (8, 150, 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mlflow_server(folder) as address:
            store = f"http://127.0.0.1:{Wire(int(address.rpartition(':')[2]), DELAY).port}"
            [untracked] = by_turns(folder, store, 4, 0, n_settling, n_timed)["plain"]["mean"]
            n_row = max(1, round(4 * STEP / untracked))
            turns = by_turns(folder, store, n_row, n_turn, n_settling, n_timed)
            counts = [
                arrived(address, Path(directory), n_settling + n_timed)
                for directory in turns.pop("directories")
            ]
    return {**turns, **{name: sum(count[name] for count in counts) for name in counts[0]}}


def by_turns(
    folder: Path, store: str, n_row: int, n_turn: int, n_settling: int, n_timed: int
) -> dict[str, Any]:
    """What `TrackingByTurns` writes of a training in batches of so many rows."""
    settings = {
        "output": str(folder / "turns.json"),
        "n_turn": n_turn,
        "n_settling": n_settling,
        "n_timed": n_timed,
    }
    callback = {"class_path": "tests.benchmarks.turns.TrackingByTurns", "init_args": settings}
    steps = (2 * n_turn + 1) * (n_settling + n_timed)
    own = (
        f"--data.batch_size={n_row}",
        f"--trainer.max_steps={steps}",
        f"--trainer.callbacks={json.dumps([callback])}",
    )
    lslm(
        "fit",
        "--config",
        str(config_path(CONFIG)),
        *SETTINGS,
        *own,
        given={"MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1"},
    )
    return json.loads((folder / "turns.json").read_text())


def arrived(address: str, directory: Path, n_step: int) -> dict[str, int]:
    """Of one tracked block: points, those that are not at the server, and those that are there once
    too often.
    """
    logged = {
        point.step
        for point in read_points(directory / "metrics.jsonl")
        if point.name == "train/loss"
    }
    found = delivered(directory, address)
    return {**found, "missing": found["missing"] + n_step - len(logged)}


def excess(blocks: Sequence[float], before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Percent by which each block exceeds the mean of the two around it."""
    means = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
    return [100 * (block / mean - 1) for block, mean in zip(blocks, means, strict=True)]


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Medians over the blocks; how far plain blocks are from the plain ones around them tells how
    exact this is.
    """
    found = figures["cost"]
    rows = [Check("steps a second without tracking", 1 / statistics.median(found["plain"]["mean"]))]
    for kind in ("mean", "median"):
        plain = found["plain"][kind]
        tracked = found["tracked"][kind]
        apart = statistics.median(map(abs, excess(plain[1:-1], plain[:-2], plain[2:])))
        rows.append(
            Check(
                f"% of a step that tracking costs, {kind} of each block",
                statistics.median(excess(tracked, plain[:-1], plain[1:])),
                "<",
                2,
            )
        )
        rows.append(Check(f"% of a step between blocks without tracking, {kind} of each", apart))
    counts = (Check(f"points {name}", found[name], "<=", 0) for name in ("missing", "doubled"))
    return [*rows, Check("points", found["points"]), *counts]


BENCHMARK = Benchmark(
    "tracking at 50 steps a second on a server with 100 ms of delay", 8, {"cost": cost}, checks
)
