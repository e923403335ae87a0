"""Checks before any long work, and the fate of the last steps."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from tasks.translation.data import TranslationData
from tests.commands.conftest import Outcome, refused
from tests.commands.test_train import runs

pytestmark = pytest.mark.slow


def refused_before_training(outcome: Outcome, *words: str) -> None:
    refused(outcome, 1, *words)
    assert not list(Path("runs").glob("*/*/checkpoints/*"))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_broken_split_is_found_before_training(lslm, translation, project, pairs, split):
    (pairs / f"{split}.zh").write_text("短\n", "utf-8")
    refused_before_training(lslm("run", "--config", translation), f"{split}.zh")
    assert not list((project / "cache").glob("tokenizers/*.json")), "no tokenizer was trained"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.n_validation_example", "0"], ["n_validation_example=0", "val/bleu"]),
        (["--data.truncate", "true"], ["max_source_length=None", "max_source_length=256"]),
        (["--trainer.precision", "16-mixed"], ["16-mixed", "bf16-mixed"]),
        (["--seeds", "0"], ["job.seeds=0", "at least 1"]),
        (["--trainer.limit_test_batches", "0"], ["limit_test_batches=0", "lslm fit"]),
        (["--job.seeds=-2"], ["job.seeds=-2", "at least 1"]),
        (
            ["--trainer.val_check_interval=00:00:10:00"],
            ["val_check_interval=00:00:10:00", "follows a clock"],
        ),
        (
            ["--trainer.val_check_interval=0.3", "--trainer.accumulate_grad_batches=2"],
            ["val_check_interval=0.3", "a multiple of it"],
        ),
    ],
)
def test_settings_that_do_not_fit_together(lslm, translation, arguments, words):
    refused_before_training(lslm("run", "--config", translation, *arguments), *words)


def test_a_source_longer_than_the_positions(lslm, translation):
    learned = [
        "--model.backbone.position",
        "lslm_lightning.models.positions.Learned",
        "--model.backbone.position.max_length",
        "25",
    ]
    lengths = ["--data.max_source_length", "20", "--data.max_target_length", "20"]
    refused_before_training(
        lslm("run", "--config", translation, *learned, *lengths), "max_length=25"
    )
    assert (
        lslm(
            "run", "--config", translation, *learned[:3], "64", *lengths, "--trainer.max_steps", "1"
        ).status
        == 0
    )


def test_minutes_and_a_checkpoint_do_not_go_together(lslm, translation, only_run):
    assert lslm("fit", "--config", translation).status == 0
    last = only_run() / "checkpoints" / "last.ckpt"
    outcome = lslm(
        "fit",
        "--config",
        translation,
        "--job.minutes",
        "1",
        "--trainer.max_steps",
        "-1",
        "--ckpt_path",
        last,
    )
    assert outcome.status == 1
    assert "config.yaml" in outcome.err


@pytest.mark.parametrize("command", ["fit", "test"])
def test_only_a_run_has_seeds(lslm, translation, command):
    Path("some.ckpt").touch()
    outcome = lslm(command, "--config", translation, "--seeds", "2", "--ckpt_path", "some.ckpt")
    refused_before_training(outcome, "job.seeds=2", f"lslm {command}", "lslm run")


def test_a_name_that_is_none_is_refused_before_anything_is_read(lslm, translation, project):
    refused_before_training(
        lslm("run", "--config", translation, "--job.name", "a b"), "job.name='a b'", "'a_b'"
    )
    assert not (project / "cache").exists()


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_random_weights_are_not_scored(lslm, translation, command):
    refused_before_training(
        lslm(command, "--config", translation), f"lslm {command} needs --ckpt_path"
    )


def test_the_last_steps_compete_for_the_best(lslm, translation, only_run):
    outcome = lslm(
        "fit", "--config", translation, "--trainer.max_steps", "5", "--model.optimizer.lr", "0.01"
    )
    assert outcome.status == 0, outcome.err
    assert "val/BLEU of the last state" in outcome.out
    last, best = map(
        float,
        re.search(r"val/BLEU of the last state ([\d.]+), .* \(([\d.]+)\)", outcome.out).groups(),
    )
    states = {
        name: torch.load(only_run() / "checkpoints" / f"{name}.ckpt", weights_only=True)[
            "global_step"
        ]
        for name in ("best", "last")
    }
    assert states["last"] == 5
    if last != best:
        assert (states["best"] == 5) == (last > best)
    else:
        assert ": the lower val/loss wins" in outcome.out


def test_a_run_that_goes_on_keeps_the_best_of_the_first(lslm, translation, only_run):
    assert lslm("fit", "--config", translation).status == 0
    first = only_run()
    best = first / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)
    settled = first / "checkpoints" / "settled"
    settled.write_text(json.dumps(json.loads(settled.read_text()) | {"best_score": 99.0}))
    assert (
        lslm(
            "fit",
            "--config",
            translation,
            "--trainer.max_steps",
            "8",
            "--ckpt_path",
            first / "checkpoints" / "last.ckpt",
        ).status
        == 0
    )
    [second] = [p for p in Path("runs/translation").iterdir() if p != first]
    again = torch.load(second / "checkpoints" / "best.ckpt", weights_only=True)
    assert again["global_step"] == state["global_step"]


def test_early_stopping_from_yaml(lslm, translation, project):
    config = yaml.safe_load(translation.read_text())
    stopping = {"monitor": "val/loss", "patience": 1, "min_delta": 100.0}
    config["trainer"] |= {
        "max_steps": 50,
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}
        ],
    }
    translation.write_text(yaml.safe_dump(config))
    assert lslm("run", "--config", translation).status == 0
    [run] = runs()
    steps = max(m.step for m in _history(run.info.run_id, "train/loss"))
    assert steps == 4, "two validations without gain, one every two steps"


def _history(run_id: str, name: str):
    from tests.commands.test_train import mlflow_client

    return mlflow_client().get_metric_history(run_id, name)


def test_a_limited_test_says_so(lslm, translation):
    outcome = lslm(
        "run",
        "--config",
        translation,
        "--trainer.limit_test_batches",
        "2",
        "--data.eval_batch_tokens",
        "30",
    )
    assert outcome.status == 0, outcome.err
    assert "of 10 examples were answered" in outcome.out
    [path] = Path("runs").glob("*/*/metrics.json")
    recorded = json.loads(path.read_text())["data"]
    data = TranslationData(recorded["corpus"], source_language="en", target_language="zh")
    answered = {
        json.loads(line)["id"]
        for line in (path.parent / "predictions/test.jsonl").read_text().splitlines()
    }
    part = [example for example in data.examples("test") if example.id in answered]
    assert (
        recorded["digest"]
        == data.recorded("test", part)["digest"]
        != data.evaluation_set("test").digest
    )
    assert f"digest {recorded['digest'][:14]}" in outcome.out
    assert not list(Path("runs").glob("*/*/report/*"))


def test_own_task_belongs_to_the_experiment_of_its_parent(lslm, translation, project, monkeypatch):
    (project / "own_task.py").write_text(
        "from tasks.translation.task import TranslationTask\n\n\nclass Mine(TranslationTask):\n  "
        "  pass\n"
    )
    monkeypatch.syspath_prepend(str(project))
    config = yaml.safe_load(translation.read_text())
    config["model"]["class_path"] = "own_task.Mine"
    translation.write_text(yaml.safe_dump(config))
    assert lslm("fit", "--config", translation).status == 0
    assert [r.data.tags["task"] for r in runs()] == ["translation"]
