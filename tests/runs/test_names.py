"""Names of runs say what makes them different, and can be those of folders."""

import os
import re

import pytest

from lslm_lightning.experiments.evaluating import name_of
from lslm_lightning.runs.directory import check_name, new_run
from lslm_lightning.runs.names import LONGEST_BYTES, run_name, stem_of, typed_settings

BACKBONE = {
    "class_path": "lslm_lightning.models.transformer.Transformer",
    "init_args": {"d_model": 128, "n_head": 4, "bias": True, "n_kv_head": None},
}
BASE = {
    "seed_everything": 0,
    "model": {
        "class_path": "tasks.translation.task.TranslationTask",
        "init_args": {"backbone": BACKBONE},
    },
    "data": {
        "class_path": "tasks.translation.data.TranslationData",
        "init_args": {
            "corpus": "cldr",
            "target_language": "zh",
            "num_workers": 0,
            "api_key": None,
            "style": "plain",
        },
    },
    "trainer": {"max_steps": 100, "precision": "auto", "gradient_clip_val": 1.0, "logger": False},
    "job": {"name": None, "root": "runs", "minutes": 2.0, "tags": {}},
}


def changed(**settings):
    """BASE with other values, by dotted names with init_args left out."""
    import copy

    config = copy.deepcopy(BASE)
    for key, value in settings.items():
        at = config
        names = key.split("__")
        for name in names[:-1]:
            at = at[name] if name in at else at["init_args"][name]
        (at if names[-1] in at or "init_args" not in at else at["init_args"])[names[-1]] = value
    return config


def name(arguments, config, more=(), stem="cldr_demo"):
    return run_name(stem, typed_settings(arguments.split()), config, BASE, more)


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        ("--config a.yaml", {}, "cldr_demo"),
        (
            "--config a.yaml --data.target_language de",
            {"data__target_language": "de"},
            "cldr_demo-de",
        ),
        (
            "--config a.yaml --data.init_args.target_language=de",
            {"data__target_language": "de"},
            "cldr_demo-de",
        ),
        ("--data.target_language zh", {}, "cldr_demo"),
        ("--data.target_language de --data.target_language zh", {}, "cldr_demo"),
        ("--model.backbone.d_model 64", {"model__backbone__d_model": 64}, "cldr_demo-d_model_64"),
        ("--model.backbone.bias false", {"model__backbone__bias": False}, "cldr_demo-no_bias"),
        (
            "--trainer.gradient_clip_val null",
            {"trainer__gradient_clip_val": None},
            "cldr_demo-no_gradient_clip_val",
        ),
        ("--seed_everything 3", {"seed_everything": 3}, "cldr_demo-seed_3"),
        (
            "--trainer.precision bf16-mixed",
            {"trainer__precision": "bf16-mixed"},
            "cldr_demo-bf16-mixed",
        ),
        ("--data.style bold", {"data__style": "bold"}, "cldr_demo-style_bold"),
        ("--data.corpus data/my_texts/", {"data__corpus": "data/my_texts/"}, "cldr_demo-my_texts"),
        ("--job.minutes 0.5", {"job__minutes": 0.5}, "cldr_demo-minutes_0.5"),
        (
            "--trainer.logger true --job.root x --data.num_workers 2 --ckpt_path p",
            {"data__num_workers": 2},
            "cldr_demo",
        ),
        (
            "--model.backbone lslm_lightning.models.recurrent.LSTM",
            {
                "model__backbone": {
                    "class_path": "lslm_lightning.models.recurrent.LSTM",
                    "init_args": {},
                }
            },
            "cldr_demo-LSTM",
        ),
        ("--model.backbone lslm_lightning.models.transformer.Transformer", {}, "cldr_demo"),
        (
            "--model my_parts.StrictTranslation",
            {"model": {"class_path": "my_parts.StrictTranslation"}},
            "cldr_demo-StrictTranslation",
        ),
        ("--trainer.callbacks+=EarlyStopping", {}, "cldr_demo-callbacks_EarlyStopping"),
        (
            "--trainer.callbacks+=EarlyStopping",
            {"trainer__callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer"}]},
            "cldr_demo-callbacks_Timer",
        ),
        ("--model.betas [0.9,0.99]", {"model__betas": (0.9, 0.99)}, "cldr_demo-betas_0.9_0.99"),
    ],
)
def test_a_name_has_what_differs_from_the_config(arguments, settings, expected):
    assert name(arguments, changed(**settings)) == expected


def test_further_configs_and_several_settings_stand_in_order():
    arguments = (
        "--config a.yaml --config fsdp.yaml --data.target_language de --model.backbone.d_model 64"
    )
    config = changed(data__target_language="de", model__backbone__d_model=64)
    assert name(arguments, config, ["fsdp"]) == "cldr_demo-fsdp-de-d_model_64"


def test_of_many_settings_a_few_are_told():
    arguments = " ".join(f"--model.extra_{i} {i}" for i in range(7))
    assert name(arguments, BASE) == "cldr_demo-extra_0_0-extra_1_1-extra_2_2-extra_3_3+3"
    long = " ".join(f"--model.a_long_setting_{i} {i}" for i in range(7))
    assert name(long, BASE) == "cldr_demo-a_long_setting_0_0-a_long_setting_1_1+5"


def test_data_comes_before_the_model_and_training_last():
    arguments = (
        "--job.minutes null --trainer.max_steps 60 --model.backbone.d_model 64 "
        "--data.target_language de"
    )
    config = changed(
        job__minutes=None,
        trainer__max_steps=60,
        model__backbone__d_model=64,
        data__target_language="de",
    )
    assert name(arguments, config) == "cldr_demo-de-d_model_64-steps_60"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("古诗", "古诗"),
        ("ke\u0301", "ké"),
        ("../../etc/passwd", "passwd"),
        ("a b;rm -rf *", "a_b_rm_-rf"),
        ("\u202eevil\x1b[31m", "evil_31m"),
        ("🙂", "corpus"),
        ("..", "corpus"),
        ("", "corpus"),
        ("诗" * 300, "诗" * 24),
        ("CON\0.txt", "CON_.txt"),
    ],
)
def test_any_value_makes_a_folder(value, part, tmp_path):
    found = run_name("demo", {"data.corpus": value}, changed(data__corpus=value), BASE)
    assert found == f"demo-{part}"
    check_name(found)
    assert os.path.basename(new_run("task", found, tmp_path).path).startswith(found)


def test_a_name_has_room_for_ids_and_seeds():
    values = {f"data.corpus_language_{i}": "诗" * 40 for i in range(9)}
    found = run_name(stem_of("诗" * 200 + ".yaml"), values, BASE, BASE)
    assert len(found.encode()) <= LONGEST_BYTES + len("+99")
    assert re.search(r"\+\d$", found)


def test_no_secret_stands_in_a_name(monkeypatch):
    secret = "sk-0123456789abcdef0123456789abcdef"
    for key in ("api_key", "style", "hf_token"):
        found = run_name("demo", {f"data.{key}": secret}, changed(**{f"data__{key}": secret}), BASE)
        assert "0123456789" not in found, key


def test_without_a_whole_config_every_setting_is_told():
    settings = typed_settings(["--data.corpus", "poems", "--trainer.max_steps", "5"])
    assert (
        run_name("run", settings, changed(data__corpus="poems", trainer__max_steps=5), {})
        == "run-poems-steps_5"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "exam"),
        ("--data.target_language de --n_shot=3 --split val", "exam-de-n_shot_3-split_val"),
        ("--systems.mine.init_args.run x --n_resample 9", "exam"),
        ("--data.corpus data/古诗", "exam-古诗"),
    ],
)
def test_an_evaluation_is_named_by_what_is_asked(words, expected):
    assert name_of("configs/exam.yaml", words.split()) == expected
