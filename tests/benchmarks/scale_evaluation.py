"""Works of `scale` on evaluations: scores, comparisons, tables of runs."""

import json
import os
import random
import sqlite3
import sys
import uuid
from collections.abc import Sequence
from contextlib import chdir, closing
from pathlib import Path

from lslm_lightning.contracts import Example, Prediction
from tests.benchmarks.growth import Build, Work, main

WORDS = [f"word{i}" for i in range(2000)]
N_SYSTEM = 2
N_RESAMPLE = 200
N_METRIC = 3
N_PARAMETER = 60
TASK = "translation"


def questions(n: int) -> list[Example]:
    """Sentences of ten words, no two the same."""
    chance = random.Random(0)
    return [
        Example(str(i), text := " ".join([*chance.choices(WORDS, k=9), f"w{i}"]), (text,))
        for i in range(n)
    ]


def answers(examples: Sequence[Example], seed: int) -> list[Prediction]:
    """References with one word in five another one."""
    chance = random.Random(seed)
    return [
        Prediction(
            example.id,
            " ".join(
                word if chance.random() > 0.2 else chance.choice(WORDS)
                for word in example.references[0].split()
            ),
        )
        for example in examples
    ]


def score(size: int, folder: Path) -> Work:
    """BLEU of two systems, its intervals and paired tests; `size` in examples."""
    from lslm_lightning.evaluation.comparison import compare_systems
    from lslm_lightning.evaluation.scoring import score as scored
    from lslm_lightning.metrics.bleu import Bleu

    examples = questions(size)
    systems = {f"system {i}": answers(examples, i) for i in range(N_SYSTEM)}
    metric = Bleu()

    def work() -> None:
        found = {
            name: scored(examples, predictions, [metric], N_RESAMPLE)
            for name, predictions in systems.items()
        }
        rows = {name: each.rows[metric.name] for name, each in found.items()}
        compare_systems(metric, rows, N_RESAMPLE)

    return work


def evaluation(size: int, folder: Path) -> Work:
    """The same, with sanity checks and breakdowns; `size` in examples."""
    from lslm_lightning.evaluation.results import Entry, compute_results
    from lslm_lightning.metrics.bleu import Bleu

    examples = questions(size)
    entries = [Entry(f"system {i}", answers(examples, i)) for i in range(N_SYSTEM)]
    metric = Bleu()
    return lambda: compute_results(examples, entries, [metric], metric.name, n_resample=N_RESAMPLE)


def predictions(size: int, folder: Path) -> Work:
    """Write predictions to their file, and read them; `size` in examples."""
    from lslm_lightning.evaluation.predictions import read_predictions, write_predictions

    found = answers(questions(size), 1)
    path = folder / "predictions.jsonl"

    def work() -> None:
        write_predictions(path, found)
        read_predictions(path)

    return work


def runs(size: int, folder: Path) -> Work:
    """`lslm compare --experiment` of a store; `size` in runs."""
    from lslm_lightning.commands.compare import main as compared

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with chdir(folder):
        make_runs(size)

    def work() -> None:
        with chdir(folder):
            if status := compared(["compare", "--experiment", TASK]):
                raise RuntimeError(f"lslm compare --experiment ended with status {status}")

    return work


def make_runs(n: int) -> None:
    """Make a store in the working folder: one run by MLflow, the others copies of its rows."""
    from lslm_lightning.tracking import Store

    client, experiment = Store().open_experiment(TASK)
    about = {"unit": "", "higher_is_better": True, "signature": "tok:13a", "n_example": 1000}
    scores = {f"metric{i}": about for i in range(N_METRIC)}
    tags = {"corpus": "pairs", "corpus.test_digest": "2:" + "ab" * 32, "command": "run"}
    tags |= {"scores": json.dumps(scores), "seed": "0", "task": TASK}
    run = client.create_run(experiment, tags=tags, run_name="run").info.run_id
    for i in range(N_PARAMETER):
        client.log_param(run, f"model.init_args.setting{i}", i)
    for name in scores:
        client.log_metric(run, f"test/{name}", 0.0)
    client.set_terminated(run, "FINISHED")
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("PRAGMA foreign_keys=OFF")
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            copy_rows(database, table, run, n - 1)


def copy_rows(database: sqlite3.Connection, table: str, run: str, n: int) -> None:
    """Insert the rows of a run in a table again for `n` others, with other names and scores."""
    found = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run,))
    columns = [column[0] for column in found.description]
    marks = ", ".join("?" * len(columns))
    rows = found.fetchall()
    for number in range(n):
        own = {"run_uuid": uuid.UUID(int=number + 1).hex, "name": f"run-{number}"}
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            values |= {key: own[key] for key in own if table == "runs" or key == "run_uuid"}
            if "latest" in table:
                values["value"] = random.Random(number).random()
            database.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(values.values()))


BUILDS: dict[str, Build] = {
    "score": score,
    "evaluation": evaluation,
    "predictions": predictions,
    "runs": runs,
}

if __name__ == "__main__":
    main(BUILDS, sys.argv[1:])
