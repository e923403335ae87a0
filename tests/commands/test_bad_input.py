"""Wrong words and broken files: one clear line, exit status 1 or 2, nothing left behind, before any
long work.
"""

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lslm_lightning.text.recipes import Characters
from tests.commands.conftest import refused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trainer.max_stepz", "5"], ["max_stepz", "max_steps"]),
        (["--model.label_smoothng", "0.1"], ["label_smoothng", "label_smoothing"]),
        (["--model.backbone.d_modl", "3"], ["d_modl", "d_model"]),
        (["--data.max_tokens", "many"], ["max_tokens", "many"]),
        (
            ["--model.backbone.class_path", "lslm_lightning.models.transformer.Transformr"],
            ["Transformr"],
        ),
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
        (["--job.registered_model", "a@b"], ["job.registered_model='a@b'", "try 'a_b'"]),
        (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
    ],
)
def test_wrong_values_name_setting_rule_and_way_out(lslm, translation, arguments, words):
    if "gpu" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(lslm("run", "--config", translation, *arguments), 1, *words)


PARTS = """
from lslm_lightning.models.transformer import Transformer


class Mine(Transformer):
    pass
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "my_parts.Nope"], ["model: ", "my_parts has no Nope"]),
        (["--model", "my_prts.Mine"], ["model: ", "no module my_prts", "my_parts?"]),
        (
            ["--model", "needs_more.Mine"],
            ["model: needs_more.Mine", "No module named 'nothing_here'"],
        ),
        (["--model.backbone", "raises.Mine"], ["model.backbone: raises.Mine", "no such library"]),
        (["--model", "Nope"], ["model must be", "package.module.Class", "'Nope'"]),
        (["--model", "Beam"], ["model must be", "'Beam'", "lslm_lightning.decoding.beam.Beam?"]),
        (["--model", "{a: ["], ["model must be", "no YAML"]),
        (
            ["--model", "tasks.translation.task.TranslationTsk"],
            ["tasks.translation.task.TranslationTask?"],
        ),
        (
            ["--model", "tasks.translatoin.task.TranslationTask"],
            ["tasks has no translatoin", "tasks.translation?"],
        ),
        (["--model", "my_parts.Mine"], ["model: my_parts.Mine is no subclass of Task"]),
        (["--model.backbone", "my_parts.Min"], ["model.backbone: ", "my_parts.Mine?"]),
        (
            ["--model.backbone.position", "lslm_lightning.models.positions.Rotery"],
            ["model.backbone.position: ", "positions.Rotary?"],
        ),
        (
            ["--model.backbone.norm", "torch.nn.LayrNorm"],
            ["model.backbone.norm: ", "torch.nn.LayerNorm?"],
        ),
        (["--model.backbone", "[1, 2]"], ["model.backbone must be", "Backbone", "[1, 2]"]),
        (
            ["--model.backbone.n_head", "two"],
            ["model.backbone.n_head must be a whole number", "'two'"],
        ),
        (
            ["--model.optimizer", "torch.optim.AdamW", "--model.optimizer.lr", "fast"],
            ["model.optimizer.lr must be a number", "'fast'"],
        ),
        (
            ["--model.optimizer", "torch.optim.AdamW", "--model.optimizer.lrr", "1"],
            ["model.optimizer.lrr ", "model.optimizer.lr?"],
        ),
        (["--model.search.beam_sise", "3"], ["model.search.beam_sise ", "model.search.beam_size?"]),
        (["--model.label_smoothin", "1"], ["model.label_smoothin ", "model.label_smoothing?"]),
        (
            ["--data.tokenizer.vocab_size", "9"],
            ["data.tokenizer.vocab_size ", "Characters takes min_count"],
        ),
        (["--data.columns", "{a: ["], ["data.columns must be a mapping or null", "no YAML"]),
        (
            ["--data", "lslm_lightning.training.data.TaskData"],
            ["data: lslm_lightning.training.data.TaskData is abstract"],
        ),
        (
            ["--trainer.precision", "17"],
            ["trainer.precision must be one of 64, ", "'bf16-mixed'", "17"],
        ),
        (["--trainer.callbacks", "nope.Nope"], ["trainer.callbacks: ", "nope.Nope"]),
        (
            ["--job.average_of", "middle"],
            ["job.average_of must be one of 'last', 'best'", "'middle'"],
        ),
        (["--job.minutes", "soon"], ["job.minutes must be a number or null", "'soon'"]),
        (["--modl.label_smoothing", "1"], ["modl.label_smoothing ", "model.label_smoothing?"]),
        (["stray"], ["'stray'", "begin with --"]),
        (["--ckpt_path"], ["--ckpt_path", "expected one argument"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_the_innermost_cause_is_told_with_its_place(
    lslm, translation, project, monkeypatch, arguments, words
):
    (project / "my_parts.py").write_text(PARTS)
    (project / "needs_more.py").write_text("import nothing_here")
    (project / "raises.py").write_text("raise RuntimeError('no such library')")
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    refused(lslm("run", "--config", translation, *arguments), 2, *words)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda model, data: model.update(backbon=3),
            ["model must be", "class_path and init_args", "backbon"],
        ),
        (
            lambda model, data: model["init_args"].update(label_smoothin=0.1),
            ["model.label_smoothin ", "model.label_smoothing?"],
        ),
        (
            lambda model, data: model["init_args"]["backbone"].update(init_args=[1]),
            ["model.backbone.init_args must be a mapping", "list"],
        ),
        (
            lambda model, data: model["init_args"]["backbone"]["init_args"].update(d_model="wide"),
            ["model.backbone.d_model", "'wide'"],
        ),
        (
            lambda model, data: model["init_args"]["backbone"].pop("class_path"),
            ["model.backbone must be", "Backbone"],
        ),
        (lambda model, data: model["init_args"].pop("backbone"), ["model.backbone must be given"]),
        (
            lambda model, data: model["init_args"].update(search="beam"),
            ["model.search must be", "package.module.Class", "'beam'"],
        ),
        (
            lambda model, data: data["init_args"].pop("source_language"),
            ["data.source_language must be given"],
        ),
        (
            lambda model, data: data["init_args"].update(tokenizer=["a"]),
            ["data.tokenizer must be", "Recipe", "['a']"],
        ),
        (
            lambda model, data: data["init_args"]["tokenizer"].update(init_args={"mincount": 1}),
            ["data.tokenizer.mincount ", "min_count?"],
        ),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_place(lslm, translation, change, words):
    config = yaml.safe_load(translation.read_text())
    change(config["model"], config["data"])
    translation.write_text(yaml.safe_dump(config))
    refused(lslm("run", "--config", translation), 2, *words)


@pytest.mark.parametrize("key", ["verbose", "weights_only", "modell", "a.b"])
def test_keys_at_the_top_of_a_file_that_mean_nothing(lslm, translation, key):
    translation.write_text(f"{key}: true\n{translation.read_text()}")
    refused(
        lslm("run", "--config", translation),
        2,
        str(translation),
        f"{key} is not known" if "." not in key else f"{key!r} has a dot",
    )


def test_yaml_that_is_none(lslm, project):
    (project / "broken.yaml").write_text("model: [unclosed")
    refused(lslm("run", "--config", project / "broken.yaml"), 2, "broken.yaml")


TWICE = "the key 'max_steps' stands twice"
NORWAY = "line 2: no is false to YAML; write 'no' in quotes"


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        (
            "trainer: {max_steps: 1}\nmodel: {}\ntrainer: {}",
            [],
            ["mine.yaml, line 3", "'trainer' stands twice"],
        ),
        ("trainer:\n  max_steps: 1\n  max_steps: 2", [], ["mine.yaml, line 3", TWICE]),
        ('{"trainer": {"max_steps": 1, "max_steps": 2}}', [], ["mine.yaml, line 1", TWICE]),
        ("trainer: inner.yaml", [], ["inner.yaml, line 2", TWICE]),
        ("{}", ["--trainer", "inner.yaml"], ["inner.yaml, line 2", TWICE]),
        ("{}", ["--trainer", "{max_steps: 1, max_steps: 2}"], ["--trainer {", TWICE]),
        ("{}", ["--data.columns={no: norsk}"], ["--data.columns {", "write 'no' in quotes"]),
        ("data:\n  init_args: {target_language: no}", [], ["mine.yaml, " + NORWAY]),
        (
            "job:\n  name: on",
            [],
            ["job.name must be a text or null", "mine.yaml, line 2", "write 'on' in quotes"],
        ),
        (
            "job:\n  name: 1e3",
            [],
            ["job.name must be a text or null", "mine.yaml, line 2", "write '1e3' in quotes"],
        ),
    ],
)
def test_yaml_that_does_not_say_what_it_seems_to_say(
    lslm, translation, project, text, arguments, words
):
    (project / "inner.yaml").write_text("max_steps: 1\nmax_steps: 2\n")
    (project / "mine.yaml").write_text(text)
    refused(
        lslm("run", "--config", translation, "--config", project / "mine.yaml", *arguments),
        2,
        *words,
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("evaluate", "task: a\ntask: b", ["mine.yaml, line 2", "'task' stands twice"]),
        ("evaluate", "data:\n  init_args: {target_language: no}", ["mine.yaml, " + NORWAY]),
        (
            "evaluate",
            "systems:\n  no: {}",
            ["mine.yaml, line 2: the key no", "write 'no' in quotes"],
        ),
        ("sweep", "base: {}\nvariants: {a: {}, a: {}}", ["mine.yaml, line 2", "'a' stands twice"]),
        ("sweep", "variants:\n  no: {}", ["mine.yaml, line 2: the key no"]),
        ("sweep", "variants: {a: {\n data.target_language: no}}", ["mine.yaml, " + NORWAY]),
    ],
)
def test_so_is_that_of_evaluations_and_sweeps(lslm, project, command, text, words):
    (project / "mine.yaml").write_text(text)
    outcome = lslm(command, "--config", project / "mine.yaml")
    refused(outcome, outcome.status or 2, *words)


def test_words_of_the_command_line_are_text_where_text_is_expected(lslm, translation, capfd):
    for word in ("no", "on", "1e3", "012", "2024-01-01"):
        arguments = ["--data.target_language", word, "--job.name", word, "--print_config"]
        outcome = lslm("run", "--config", translation, *arguments)
        config = yaml.safe_load(outcome.out)
        assert config["data"]["init_args"]["target_language"] == word
        assert config["job"]["name"] == word


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "train.zh").unlink(), ["train.zh", "is not here"]),
        (
            lambda folder: (folder / "train.zh").write_bytes(b"\xff\xfe\x00bad\n" * 60),
            ["train.zh", "UTF-8"],
        ),
        (lambda folder: (folder / "train.zh").write_text("短\n"), ["train.en", "60", "1"]),
        (
            lambda folder: [(folder / f"train.{x}").write_text("") for x in ("en", "zh")],
            ["train.en", "is empty"],
        ),
        (
            lambda folder: [(folder / f"train.{x}").write_text("\n" * 60) for x in ("en", "zh")],
            ["empty"],
        ),
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


def test_a_folder_that_cannot_be_written(lslm, translation, project):
    """Refuse folders that nobody can write to, or nobody but root."""
    (project / "locked").mkdir(mode=0o500)
    root = Path("/sys/runs") if os.geteuid() == 0 else project / "locked" / "runs"
    refused(
        lslm("run", "--config", translation, "--job.root", root),
        1,
        "cannot make a run directory",
        str(root),
    )


def test_a_root_that_is_a_file(lslm, translation, project):
    (project / "taken").write_text("")
    refused(lslm("run", "--config", translation, "--job.root", project / "taken"), 1, "taken")


def test_checkpoints_that_do_not_fit_or_are_none(lslm, translation, only_run, project):
    assert lslm("fit", "--config", translation).status == 0
    run = only_run()
    best = run / "checkpoints" / "best.ckpt"
    refused(
        lslm(
            "test",
            "--config",
            run / "config.yaml",
            "--ckpt_path",
            best,
            "--model.backbone.d_model",
            "32",
        ),
        1,
        "model.backbone.d_model",
        "16",
        "32",
    )
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    refused(lslm("test", "--config", run / "config.yaml", "--ckpt_path", best), 1, "best.ckpt")
    refused(lslm("generate", run, "red"), 1, "best.ckpt")
    best.write_text("not a checkpoint")
    refused(lslm("generate", run, "red"), 1, "best.ckpt", "not a checkpoint")


def test_a_tokenizer_of_another_run_is_refused(lslm, translation, only_run):
    assert lslm("fit", "--config", translation).status == 0
    run = only_run()
    Characters().train(["abcdefghijklmnopqrstuvwxyz"]).save(run / "tokenizer.json")
    refused(
        lslm("generate", run, "red"),
        1,
        "best.ckpt",
        "tokenizer.json",
        "not the one that this model was trained with",
    )


@pytest.mark.parametrize(
    ("config", "arguments", "words"),
    [
        (
            "language_modeling/docstrings_demo.yaml",
            ["--data.corpus=pairs"],
            ["corpus pairs has no 'text'", "LanguageModelingData", "en, zh"],
        ),
        (
            "summarization/docstrings_demo.yaml",
            ["--data.corpus=pairs"],
            ["corpus pairs has no 'document' and no 'summary'", "SummarizationData", "en, zh"],
        ),
        (
            "translation/cldr_demo.yaml",
            ["--data.corpus=text.txt"],
            ["corpus text.txt: is running text without en and zh", "train.en", ".tsv"],
        ),
    ],
)
def test_a_corpus_of_another_task_is_named(lslm, pairs, project, config, arguments, words):
    (project / "text.txt").write_text("red green blue\n" * 50)
    refused(
        lslm("run", "--config", Path(__file__).parents[2] / "configs" / config, *arguments),
        1,
        *words,
    )
    assert not list(Path("runs").glob("*/*"))


def test_a_nan_loss_fails_and_keeps_the_last_good_checkpoint(lslm, translation, only_run):
    optimizer = [
        "--model.optimizer",
        "torch.optim.SGD",
        "--model.optimizer.lr",
        "2e4",
        "--trainer.gradient_clip_val",
        "0",
    ]
    outcome = lslm(
        "run",
        "--config",
        translation,
        *optimizer,
        "--trainer.val_check_interval",
        "1",
        "--trainer.max_steps",
        "9",
    )
    refused(outcome, 1, "the loss is", "at step")
    weights = torch.load(only_run() / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(w.isfinite().all() for w in weights.values())
    from tests.commands.test_train import runs

    assert [r.info.status for r in runs()] == ["FAILED"]


def test_unknown_commands_and_runs(lslm, project):
    refused(lslm("trian"), 2, "'trian'")
    refused(lslm("generate", "runs/none/here", "x"), 1, "runs/none/here")
