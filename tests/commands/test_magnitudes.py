"""Numbers that no setting can mean are refused by name, before anything is made."""

import math
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace

from lslm_lightning.runs import find_run, load_run
from lslm_lightning.safety.magnitudes import LARGEST, check_magnitudes
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.fusion import ShallowFusion
from tests.commands.conftest import refused

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"job": {"keep_last": 10**9}}, "job.keep_last=1000000000 must be at most 10,000"),
        ({"job": {"seeds": 10**9}}, "job.seeds=1000000000"),
        (
            {"data": {"init_args": {"tokenizer": {"init_args": {"vocab_size": 10**14}}}}},
            "data.tokenizer.vocab_size=100000000000000",
        ),
        ({"trainer": {"devices": 10**6}}, "trainer.devices=1000000 must be at most"),
        ({"trainer": {"devices": "1000000"}}, "trainer.devices=1000000"),
        (
            {"trainer": {"max_steps": 2**63}},
            "trainer.max_steps=9223372036854775808 must be less than",
        ),
        ({"trainer": {"max_epochs": 10**400}}, r"trainer.max_epochs=10\^400 must be less than"),
        ({"trainer": {"limit_val_batches": -(10**30)}}, r"trainer.limit_val_batches=-10\^30"),
        ({"data": {"num_workers": 10**6}}, "data.num_workers=1000000"),
        ({"data": {"max_tokens": 10**12}}, "data.max_tokens=1000000000000"),
        (
            {"model": {"search": {"init_args": {"beam_size": 10**9}}}},
            "model.search.beam_size=1000000000",
        ),
        ({"model": {"max_length": 10**9}}, "model.max_length=1000000000"),
        ({"model": {"backbone": {"d_model": 10**9}}}, "model.backbone.d_model=1000000000"),
        (
            {"model": {"optimizer": {"init_args": {"betas": [0.9, math.nan]}}}},
            "model.optimizer.betas.1=nan is no number",
        ),
        ({"job": {"minutes": math.nan}}, "job.minutes=nan is no number"),
        ({"job": {"minutes": 1e300}}, r"job.minutes=1e\+300 must be at most 100,000,000"),
        (
            {"systems": {"mine": {"init_args": {"n_shot": 1, "rate": 10**20}}}},
            "systems.mine.rate=100000000000000000000",
        ),
    ],
)
def test_what_no_setting_can_mean_is_refused_by_its_name(settings, words):
    for given in (settings, Namespace(settings), yaml.safe_load(yaml.safe_dump(settings))):
        with pytest.raises(ValueError, match=f"^{words}") as told:
            check_magnitudes(given)
        assert len(str(told.value)) < 200


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_is_taken_and_one_more_is_not(name):
    check_magnitudes({"a": {name: LARGEST[name]}})
    with pytest.raises(
        ValueError, match=f"^a.{name}={LARGEST[name] + 1} must be at most {LARGEST[name]:,}$"
    ):
        check_magnitudes({"a": {name: LARGEST[name] + 1}})


def test_good_numbers_pass():
    good = {
        "trainer": {
            "devices": [0, 1],
            "max_steps": -1,
            "max_epochs": 10**9,
            "limit_val_batches": 10**9,
            "max_time": "00:12:00:00",
        },
        "model": {
            "optimizer": {"lr": 1e-3, "foreach": True},
            "threshold": math.inf,
            "vocab_size": 256_000,
        },
        "data": {"context": 1_000_000, "columns": ["0", "1"], "corpus": "12345678901234567890123"},
        "job": {"tags": {"ticket": "99999999999999999999999999"}, "name": "2" * 40},
    }
    check_magnitudes(good)
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        check_magnitudes(yaml.safe_load(path.read_text("utf-8")))


@pytest.fixture
def absurd_run(tmp_path):
    """Write a run directory whose model has this setting, and return it."""

    def make(settings):
        folder = tmp_path / "runs" / "translation" / "absurd"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "best.ckpt").write_bytes(b"none")
        (folder / "tokenizer.json").write_text("{}")
        model = {"class_path": "tasks.translation.task.TranslationTask", "init_args": settings}
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": model}))
        return folder

    return make


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (
            {
                "search": {
                    "class_path": "lslm_lightning.decoding.Beam",
                    "init_args": {"beam_size": 10**9},
                }
            },
            "model.search.beam_size=1000000000",
        ),
        (
            {"search": {"init_args": {"no_repeat_ngram": 10**12}}},
            "model.search.no_repeat_ngram=1000000000000",
        ),
        (
            {"validation_search": {"init_args": {"top_k": 10**18}}},
            "model.validation_search.top_k=1000000000000000000",
        ),
        ({"max_length": 10**12}, "model.max_length=1000000000000"),
        ({"min_length": 10**9}, "model.min_length=1000000000"),
        ({"backbone": {"init_args": {"d_inner": 10**9}}}, "model.backbone.d_inner=1000000000"),
    ],
)
def test_a_run_with_them_is_refused_by_all_who_would_use_its_model(settings, name, absurd_run):
    run = absurd_run(settings)
    told = rf"config.yaml: {name} must be at most"
    users = [
        lambda: load_run(run),
        lambda: load_run(run / "checkpoints" / "best.ckpt", trust=True),
        lambda: Checkpoint(str(run)).prepare([]),
        lambda: ShallowFusion(str(run)).prepare(find_run(run)),
        lambda: find_run(run / "checkpoints" / "best.ckpt").config,
    ]
    for use in users:
        with pytest.raises(ValueError, match=told):
            use()


def test_a_run_of_a_larger_machine_can_be_used(absurd_run):
    run = absurd_run({"max_length": 128})
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"trainer": {"devices": 100_000}, "data": {"init_args": {"num_workers": 100_000}}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    Checkpoint(str(run)).prepare([])
    assert find_run(run / "checkpoints" / "best.ckpt").config == config


@pytest.mark.slow
def test_commands_refuse_them_before_there_is_anything(lslm, translation, project):
    for words, told in (
        (["--job.keep_last=1000000000"], "job.keep_last=1000000000 must be at most 10,000"),
        (
            [
                "--data.tokenizer=lslm_lightning.text.recipes.BytePair",
                "--data.tokenizer.vocab_size=100000000000000",
            ],
            "vocab_size=1000000",
        ),
        (
            ["--trainer.devices=1000000", "--trainer.strategy=ddp"],
            "trainer.devices=1000000 must be at most",
        ),
    ):
        refused(lslm("run", "--config", translation, *words), 1, told)
    refused(
        lslm("evaluate", "--config", translation, "--devices", 10**6),
        2,
        "--devices 1000000 must be at least 1 and at most",
    )
    outcome = lslm("generate", "nowhere", "text", "--beam-size", 10**9)
    assert outcome.err == "lslm generate: --beam-size=1000000000 must be at most 10,000\n"
    assert not Path("runs").exists()
