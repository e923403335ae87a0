"""Wrong words and broken files: one clear line, exit status 1 or 2, nothing left behind, before any long work."""

import os
import socket
from pathlib import Path

import pytest
import torch


def refused(outcome, status: int, *words: str) -> None:
    assert outcome.status == status, outcome
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("lslm: ")
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trainer.max_stepz", "5"], ["max_stepz", "max_steps"]),
        (["--model.label_smoothng", "0.1"], ["label_smoothng", "label_smoothing"]),
        (["--model.backbone.d_modl", "3"], ["d_modl", "d_model"]),
        (["--data.max_tokens", "many"], ["max_tokens", "many"]),
        (["--model.backbone.class_path", "lslm_lightning.models.transformer.Transformr"], ["Transformr"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_wrong_words_are_named_with_the_nearest_right_one(lslm, translation, arguments, words):
    refused(lslm("run", "--config", translation, *arguments), 2, *words)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.label_smoothing", "2"], ["label_smoothing=2.0", "below 1"]),
        (["--model.backbone.n_head", "3"], ["n_head=3", "d_model=16", "[1, 2, 4, 8, 16]"]),
        (["--model.backbone.n_encoder_layer", "0"], ["n_encoder_layer=0"]),
        (["--data.corpus", "multi30"], ["multi30", "multi30k"]),
        (["--data.target_language", "fr"], ["'fr'", "en, zh"]),
        (["--data.max_tokens", "0"], ["max_tokens=0"]),
        (["--trainer.max_steps", "-1"], ["max_steps", "job.minutes"]),
        (["--trainer.accelerator", "gpu"], ["trainer.accelerator=gpu", "no GPU"]),
        (["--trainer.devices", "0"], ["trainer.devices=0"]),
        (["--job.minutes", "-1", "--trainer.max_steps", "-1"], ["minutes=-1"]),
        (["--job.name", "a/b"], ["name='a/b'"]),
        (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
    ],
)
def test_wrong_values_name_setting_rule_and_way_out(lslm, translation, arguments, words):
    if "gpu" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(lslm("run", "--config", translation, *arguments), 1, *words)


def test_yaml_that_is_none(lslm, project):
    (project / "broken.yaml").write_text("model: [unclosed")
    refused(lslm("run", "--config", project / "broken.yaml"), 2, "broken.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "train.zh").unlink(), ["train"]),
        (lambda folder: (folder / "train.zh").write_bytes(b"\xff\xfe\x00bad\n" * 60), ["train.zh", "UTF-8"]),
        (lambda folder: (folder / "train.zh").write_text("短\n"), ["train.en", "60", "1"]),
        (lambda folder: [(folder / f"train.{x}").write_text("") for x in ("en", "zh")], ["train"]),
        (lambda folder: [(folder / f"train.{x}").write_text("\n" * 60) for x in ("en", "zh")], ["empty"]),
    ],
    ids=["missing", "not UTF-8", "different lengths", "empty file", "empty lines"],
)
def test_broken_corpora_are_named(lslm, translation, pairs, change, words):
    change(pairs)
    refused(lslm("run", "--config", translation), 1, *words)


def test_an_unreachable_server_is_refused_within_seconds(lslm, translation, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:geheim@127.0.0.1:{port}")
    outcome = lslm("run", "--config", translation)
    refused(outcome, 1, "MLflow", str(port))
    assert "geheim" not in outcome.err + outcome.out
    assert not list(Path("runs").glob("*/*/checkpoints"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(lslm, translation, project):
    (project / "locked").mkdir(mode=0o500)
    refused(lslm("run", "--config", translation, "--job.root", project / "locked" / "runs"), 1, "locked")


def test_a_root_that_is_a_file(lslm, translation, project):
    (project / "taken").write_text("")
    refused(lslm("run", "--config", translation, "--job.root", project / "taken"), 1, "taken")


def test_checkpoints_that_do_not_fit_or_are_none(lslm, translation, only_run, project):
    assert lslm("fit", "--config", translation).status == 0
    run = only_run()
    best = run / "checkpoints" / "best.ckpt"
    refused(lslm("test", "--config", run / "config.yaml", "--ckpt_path", best, "--model.backbone.d_model", "32"), 1, "best.ckpt", "16", "32")
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    refused(lslm("test", "--config", run / "config.yaml", "--ckpt_path", best), 1, "best.ckpt")
    refused(lslm("generate", run, "red"), 1, "best.ckpt")
    best.write_text("not a checkpoint")
    refused(lslm("generate", run, "red"), 1, "best.ckpt", "not a checkpoint")


def test_a_nan_loss_fails_and_keeps_the_last_good_checkpoint(lslm, translation, only_run):
    optimizer = ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", "1e20", "--trainer.gradient_clip_val", "0"]
    outcome = lslm("run", "--config", translation, *optimizer, "--trainer.val_check_interval", "1", "--trainer.max_steps", "9")
    refused(outcome, 1, "the loss is", "at step")
    weights = torch.load(only_run() / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(w.isfinite().all() for w in weights.values())
    from tests.commands.test_train import runs

    assert [r.info.status for r in runs()] == ["FAILED"]


def test_unknown_commands_and_runs(lslm, project):
    refused(lslm("trian"), 2, "'trian'")
    refused(lslm("generate", "runs/none/here", "x"), 1, "runs/none/here")
