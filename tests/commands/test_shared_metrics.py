"""Metrics that YAML names score alike on one process and on two, and one that fails on one of them
keeps none waiting.
"""

import json
from pathlib import Path

import pytest
import yaml

from tests.commands.test_processes import ONE, ended
from tests.support.bert import write_bert
from tests.support.waiting import PATIENCE, at_most

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

TWO = ("--trainer.strategy=ddp", "--trainer.val_check_interval=10")
NAMES = [f"BERTScore_{n}" for n in ("precision", "recall", "f1")]
FAILING = """
import os

from lslm_lightning.metrics.bleu import Bleu


class Failing(Bleu):
    name = "failing"

    def statistics(self, example, prediction):
        if os.environ.get("RANK") == "1":
            raise RuntimeError("no memory for this metric")
        return super().statistics(example, prediction)
"""


@pytest.fixture
def with_metric(translation: Path):
    """Write the config of a training that is scored by one more metric, and return its path."""

    def write(spec: dict) -> Path:
        config = yaml.safe_load(translation.read_text())
        config["model"]["init_args"]["extra_metrics"] = [spec]
        config["data"]["init_args"]["n_validation_example"] = 5
        config["trainer"] |= {"max_steps": 20, "enable_progress_bar": False}
        translation.write_text(yaml.safe_dump(config))
        return translation

    return write


def of_bert(scores: list[dict]) -> dict[str, dict]:
    return {score["metric"]: score for score in scores if score["metric"] in NAMES}


def validated(run: Path) -> dict[tuple[int, str], float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    names = {f"val/{name}" for name in NAMES}
    return {(row["step"], row["name"]): row["value"] for row in rows if row["name"] in names}


def test_a_learned_metric_scores_alike_on_one_process_and_on_two(
    with_metric, lslm, together, forked_shares, pairs, project
):
    """In the validations of a training, in its test, and in an evaluation by two of what one
    trained.
    """
    folder = write_bert(project / "bert", (pairs / "train.zh").read_text("utf-8"))
    settings = {"model_name_or_path": folder, "num_layers": 2, "max_length": 32, "truncation": True}
    spec = {"class_path": "torchmetrics.text.BERTScore", "init_args": settings}
    config = with_metric(spec)
    outcome = lslm("run", "--config", config, "--job.name=one", *ONE)
    assert outcome.status == 0, outcome.err
    ended(together("run", "--config", config, "--job.name=two", *TWO))
    [one], [two] = ([*Path("runs/translation").glob(f"{name}-*")] for name in ("one", "two"))
    assert {name for _, name in validated(one)} == {f"val/{name}" for name in NAMES}
    assert validated(two) == pytest.approx(validated(one), abs=1e-6)
    tested, shared = (
        of_bert(json.loads((run / "metrics.json").read_text())["scores"]) for run in (one, two)
    )
    assert list(tested) == NAMES
    assert shared == tested

    system = {
        "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
        "init_args": {"run": str(one)},
    }
    evaluation = {
        "task": "tasks.translation.task.TranslationTask",
        "data": yaml.safe_load(config.read_text())["data"],
        "metrics": [spec],
        "systems": {"run": system},
    }
    for name in ("tokenizer", "max_tokens", "n_validation_example"):
        del evaluation["data"]["init_args"][name]
    path = project / "evaluation.yaml"
    path.write_text(yaml.safe_dump(evaluation))
    outcome = lslm("evaluate", "--config", path, "--name", "by-2", "--devices", 2)
    assert outcome.status == 0, outcome.err
    assert [share.returncode for share in forked_shares] == [0, 0]
    [record] = Path("runs/translation").glob("by-2-*/metrics.json")
    found = of_bert(json.loads(record.read_text())["systems"]["run"]["scores"])
    assert {name: score["value"] for name, score in found.items()} == {
        name: score["value"] for name, score in tested.items()
    }


def test_a_metric_that_fails_on_one_process_keeps_none_waiting(with_metric, together, project):
    (project / "mine.py").write_text(FAILING)
    config = with_metric({"class_path": "mine.Failing"})
    processes = together("run", "--config", config, *TWO)
    with at_most(60):
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [1, 1], outputs
    assert "no memory for this metric" in outputs[1]
