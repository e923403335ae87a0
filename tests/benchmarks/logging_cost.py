"""What tracking costs training: steps of about 20 ms, each of them logged to an MLflow server whose requests take 100 ms longer."""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lslm_lightning.tracking.curves import read_points
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import config_path, lslm
from tests.commands.alike import delivered
from tests.mlflow_server import mlflow_server
from tests.wire import Wire

DELAY, STEP = 0.1, 0.02  # seconds
CONFIG = "language_modeling/docstrings_demo.yaml"
SIZES = {"n_decoder_layer": 2, "n_head": 2, "d_model": 128, "d_feedforward": 256}
SETTINGS = (
    *(f"--model.backbone.{name}={value}" for name, value in SIZES.items()),
    *("--model.context=64", "--data.context=64", "--data.batch_size=4", "--data.tokenizer=lslm_lightning.text.recipes.Bytes"),
    *("--trainer.precision=32-true", "--trainer.log_every_n_steps=1", "--trainer.limit_val_batches=0", "--job.save_every_minutes=null"),
)


def cost(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """`lslm fit` on one thread, the server and its slow wire in processes of their own; seconds a step of every block, and lost points."""
    n_turn, n_settling, n_timed = (2, 5, 20) if smoke else (8, 150, 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mlflow_server(folder) as address:
            wire = Wire(int(address.rpartition(":")[2]), DELAY)
            settings = {"output": str(folder / "turns.json"), "n_turn": n_turn, "n_settling": n_settling, "n_timed": n_timed}
            callback = {"class_path": "tests.benchmarks.turns.TrackingByTurns", "init_args": settings}
            steps = (2 * n_turn + 1) * (n_settling + n_timed)
            limits = (f"--trainer.max_steps={steps}", f"--trainer.callbacks={json.dumps([callback])}")
            given = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{wire.port}", "OMP_NUM_THREADS": "1"}
            lslm("fit", "--config", str(config_path(CONFIG)), *SETTINGS, *limits, given=given)
            turns = json.loads((folder / "turns.json").read_text())
            counts = [arrived(address, Path(directory), n_settling + n_timed) for directory in turns.pop("directories")]
    return {**turns, **{name: sum(count[name] for count in counts) for name in counts[0]}}


def arrived(address: str, directory: Path, n_step: int) -> dict[str, int]:
    """Of one tracked block: points, those that are not at the server, and those that are there once too often."""
    logged = {point.step for point in read_points(directory / "metrics.jsonl") if point.name == "train/loss"}
    found = delivered(directory, address)
    return {**found, "missing": found["missing"] + n_step - len(logged)}


def excess(blocks: Sequence[float], before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Percent of a step by which each block exceeds the mean of the two around it; of a step of 20 ms where theirs take longer."""
    means = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
    return [100 * (block - mean) / min(mean, STEP) for block, mean in zip(blocks, means, strict=True)]


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Medians over the blocks; how far plain blocks are from the plain ones around them tells how exact this is."""
    found = figures["cost"]
    rows = [Check("steps a second without tracking", 1 / statistics.median(found["plain"]["mean"]))]
    for kind in ("mean", "median"):
        plain, tracked = found["plain"][kind], found["tracked"][kind]
        apart = statistics.median(map(abs, excess(plain[1:-1], plain[:-2], plain[2:])))
        rows.append(
            Check(
                f"% of a step that tracking costs, {kind} of each block", statistics.median(excess(tracked, plain[:-1], plain[1:])), "<", 2
            )
        )
        rows.append(Check(f"% of a step between blocks without tracking, {kind} of each", apart))
    counts = (Check(f"points {name}", found[name], "<=", 0) for name in ("missing", "doubled"))
    return [*rows, Check("points", found["points"]), *counts]


BENCHMARK = Benchmark("tracking at 50 steps a second on a server with 100 ms of delay", 8, {"cost": cost}, checks)
