"""Lightning's settings: each works as it documents, or is refused by the name that was given,
before there is a run.
"""

import inspect
import json
import math
from pathlib import Path
from types import UnionType
from typing import get_args

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar, Timer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lslm_lightning.configuration.job import TRAINER_DEFAULTS, Job, JobTrainer
from lslm_lightning.configuration.trainer_settings import check_trainer, profiler_of
from lslm_lightning.configuration.tried_trainer import (
    check_given_callbacks,
    plain_settings,
    tried_trainer,
)
from lslm_lightning.data.batching import BatchStream, limited
from lslm_lightning.experiments.preflight import check_job
from tests.commands.conftest import refused

CALLBACKS = "lightning.pytorch.callbacks"


@pytest.fixture(scope="module")
def defaults():
    """Settings of a Trainer as the parser gives them."""
    parser = LightningArgumentParser()
    parser.add_class_arguments(JobTrainer, "trainer")
    parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
    return parser.parse_args([]).trainer


def check_settings(command, trainer, one_pass=False):
    """Check Trainer settings as a command does before it reads the data."""
    check_trainer(command, trainer, one_pass)
    tried_trainer(trainer)


def test_whole_numbers_are_tried_before_shares_whatever_was_imported_first():
    """Types of `typing.Union` come from a cache that may hold them in another order."""
    theirs, ours = (inspect.signature(kind.__init__).parameters for kind in (Trainer, JobTrainer))
    both = [name for name, each in theirs.items() if {int, float} <= set(get_args(each.annotation))]
    assert {"limit_train_batches", "overfit_batches", "val_check_interval"} <= set(both)
    for name in both:
        kinds = get_args(ours[name].annotation)
        assert isinstance(ours[name].annotation, UnionType), name
        assert kinds.index(int) < kinds.index(float), name
        assert ours[name].default == theirs[name].default, name


def test_settings_may_come_from_a_file_of_their_own(tmp_path):
    """`--trainer FILE` leaves the path of the file beside the settings in the parser."""
    path = tmp_path / "trainer.yaml"
    path.write_text("max_steps: 7\n")
    parser = LightningArgumentParser()
    parser.add_class_arguments(JobTrainer, "trainer")
    settings = parser.parse_args(["--trainer", str(path)]).trainer
    assert settings.max_steps == 7
    JobTrainer(**plain_settings(settings))


def callback(name):
    return [Namespace(class_path=f"{CALLBACKS}.{name}", init_args=Namespace())]


def plugins(*names):
    return [Namespace(class_path=f"lightning.pytorch.plugins.{name}") for name in names]


REFUSALS = [
    ({"barebones": True}, "trainer.barebones=True"),
    ({"enable_checkpointing": False}, "trainer.enable_checkpointing=False"),
    ({"default_root_dir": "x"}, "trainer.default_root_dir=x.*job.root"),
    ({"logger": True}, "trainer.logger=True"),
    ({"use_distributed_sampler": True}, "trainer.use_distributed_sampler=True"),
    ({"model_registry": "x"}, "trainer.model_registry=x"),
    ({"profiler": "fast"}, "trainer.profiler=fast.*simple"),
    ({"gradient_clip_val": -1.0}, "trainer.gradient_clip_val=-1.0"),
    ({"gradient_clip_val": math.nan}, "trainer.gradient_clip_val=nan"),
    ({"gradient_clip_algorithm": "sum"}, "gradient_clip_algorithm"),
    ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0"),
    ({"log_every_n_steps": -1}, "trainer.log_every_n_steps=-1"),
    ({"overfit_batches": -1}, "trainer.overfit_batches=-1"),
    ({"overfit_batches": 1.5}, "trainer.overfit_batches=1.5.*share"),
    ({"val_check_interval": 0}, "trainer.val_check_interval=0"),
    ({"val_check_interval": 1.5}, "val_check_interval"),
    ({"limit_train_batches": 0}, "trainer.limit_train_batches=0"),
    ({"limit_test_batches": 0.0}, "trainer.limit_test_batches=0.*lslm fit"),
    ({"limit_train_batches": -1}, "limit_train_batches"),
    ({"limit_val_batches": 1.5}, "limit_val_batches"),
    (
        {"overfit_batches": 1, "limit_train_batches": 3},
        "trainer.overfit_batches=1 sets trainer.limit_train_batches",
    ),
    (
        {"overfit_batches": 0.5, "limit_val_batches": 3},
        "trainer.overfit_batches=0.5 sets trainer.limit_val_batches",
    ),
    ({"max_steps": 0}, "trainer.max_steps=0"),
    ({"max_epochs": 0}, "trainer.max_epochs=0"),
    ({"max_steps": -7}, "max_steps"),
    ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch=0"),
    ({"check_val_every_n_epoch": -1}, "trainer.check_val_every_n_epoch=-1"),
    ({"num_sanity_val_steps": -2}, "trainer.num_sanity_val_steps=-2"),
    ({"max_time": "00:00:00:00"}, "trainer.max_time=00:00:00:00 leaves no time"),
    ({"max_time": {"minutes": 0}}, "leaves no time"),
    ({"min_steps": 10, "max_steps": 6}, "trainer.min_steps=10 is more than trainer.max_steps=6"),
    ({"min_epochs": 3, "max_epochs": 2}, "trainer.min_epochs=3"),
    ({"max_time": "an hour"}, "an hour"),
    ({"fast_dev_run": -2}, "fast_dev_run=-2"),
    ({"reload_dataloaders_every_n_epochs": -1}, "reload_dataloaders_every_n_epochs"),
    (
        {"callbacks": callback("RichProgressBar"), "enable_progress_bar": False},
        "enable_progress_bar=False and RichProgressBar",
    ),
    (
        {"callbacks": callback("StochasticWeightAveraging")},
        "StochasticWeightAveraging.*job.average",
    ),
    ({"callbacks": callback("WeightAveraging")}, "WeightAveraging.*job.average"),
    ({"callbacks": callback("EMAWeightAveraging")}, "EMAWeightAveraging.*job.average"),
    (
        {"callbacks": callback("GradientAccumulationScheduler")},
        "GradientAccumulationScheduler.*trainer.accumulate_grad_batches",
    ),
    ({"callbacks": callback("BatchSizeFinder")}, "BatchSizeFinder"),
    ({"callbacks": callback("LearningRateFinder")}, "LearningRateFinder.*model.optimizer.lr"),
    ({"callbacks": callback("ModelPruning")}, "ModelPruning"),
    ({"callbacks": callback("BackboneFinetuning")}, "BackboneFinetuning"),
    ({"callbacks": callback("OnExceptionCheckpoint")}, "OnExceptionCheckpoint"),
    (
        {"plugins": [Namespace(class_path="lightning.pytorch.plugins.io.AsyncCheckpointIO")]},
        "AsyncCheckpointIO",
    ),
    (
        {"max_time": "00:00:01:00", "callbacks": callback("Timer")},
        "trainer.max_time=00:00:01:00 and Timer among trainer.callbacks",
    ),
    (
        {"precision": "auto", "plugins": plugins("MixedPrecision")},
        "precision=auto and MixedPrecision.*set trainer.precision=null",
    ),
    (
        {"precision": "bf16-mixed", "plugins": plugins("HalfPrecision")},
        "precision=bf16-mixed and HalfPrecision among trainer.plugins",
    ),
    (
        {"plugins": plugins("MixedPrecision", "DoublePrecision")},
        "MixedPrecision and DoublePrecision do the same",
    ),
    (
        {"plugins": plugins(*2 * ["environments.SLURMEnvironment"])},
        "SLURMEnvironment and SLURMEnvironment do the same",
    ),
    (
        {"plugins": [Namespace(class_path=f"{CALLBACKS}.Timer")]},
        "trainer.plugins: Timer is no plugin of a Trainer",
    ),
]


@pytest.mark.parametrize(("given", "words"), REFUSALS)
def test_what_a_run_has_no_use_for_is_refused_by_its_name(given, words, defaults):
    trainer = defaults.clone()
    check_settings("run", trainer)
    trainer.update(Namespace(given))
    with pytest.raises(ValueError, match=words) as told:
        check_settings("run", trainer)
    assert not isinstance(told.value, MisconfigurationException)
    assert "\n" not in str(told.value)
    others = ("enable_progress_bar", "enable_checkpointing", "check_val_every_n_epoch")
    assert not [name for name in others if name in str(told.value) and name not in given], (
        "nobody gave these"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"callbacks": callback("RichProgressBar")},
        {"callbacks": callback("EarlyStopping")},
        {"callbacks": callback("ModelCheckpoint")},
        {"val_check_interval": 0.5},
        {"val_check_interval": 1.0},
        {"overfit_batches": 1},
        {"overfit_batches": 0.5},
        {"limit_val_batches": 0},
        {"fast_dev_run": True},
        {"log_every_n_steps": 0},
        {"profiler": "simple"},
        {"gradient_clip_algorithm": "value"},
        {"max_steps": 5, "max_epochs": 2, "min_steps": 5},
        {"max_time": "00:00:01:00"},
        {"callbacks": callback("Timer")},
        {
            "plugins": plugins(
                "MixedPrecision", "environments.SLURMEnvironment", "TorchSyncBatchNorm"
            )
        },
    ],
)
def test_what_works_is_let_pass(given, defaults):
    trainer = defaults.clone()
    trainer.update(Namespace(given))
    check_settings("run", trainer)
    assert plain_settings(trainer)["overfit_batches"] == 0, (
        "the data repeat their batches themselves"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(
            (
                {"strategy": f"ddp_{start}"},
                f"trainer.strategy=ddp_{start} .* set trainer.strategy=ddp$",
            )
            for start in ("spawn", "fork", "notebook")
        ),
        (
            {"strategy": "ddp_fork_find_unused_parameters_false"},
            "trainer.strategy=ddp_fork_find_unused_parameters_false",
        ),
        *(
            (
                {
                    "strategy": Namespace(
                        class_path="DDPStrategy", init_args=Namespace(start_method=method)
                    )
                },
                f"start_method={method}",
            )
            for method in ("spawn", "fork", "forkserver")
        ),
        ({"strategy": "dp"}, "trainer.accelerator=cpu, .*trainer.strategy=dp: .*invalid strategy"),
        ({"strategy": "xla"}, "trainer.strategy=xla: .*torch_xla"),
        ({"strategy": "single_xla"}, "trainer.strategy=single_xla: "),
        (
            {"strategy": "lightning.pytorch.strategies.DDPStrategy"},
            "trainer.strategy=lightning.pytorch.strategies.DDPStrategy: .*invalid strategy",
        ),
        ({"devices": -1}, "trainer.devices=-1.*int > 0"),
        ({"devices": "two"}, "trainer.devices=two.*int > 0"),
        ({"devices": 0}, "trainer.devices=0"),
        ({"accelerator": "tpu"}, "trainer.accelerator=tpu: .*torch_xla"),
        ({"accelerator": "npu"}, "trainer.accelerator=npu: .*invalid accelerator"),
        (
            {"precision": "transformer-engine"},
            "trainer.precision=transformer-engine: .*transformer_engine",
        ),
    ],
)
def test_devices_and_ways_to_use_them_are_refused_by_the_name_that_was_given(
    given, words, defaults
):
    trainer = defaults.clone()
    trainer.update(Namespace({"accelerator": "cpu", "max_steps": 4} | given))
    with pytest.raises(ValueError, match=words) as told:
        check_job("run", Job(), trainer, None)
    assert "\n" not in str(told.value)
    assert "=auto" not in str(told.value), "which nobody gave"


@pytest.mark.parametrize(
    "strategy", ["auto", "ddp", "ddp_find_unused_parameters_true", "single_device", "fsdp"]
)
def test_ways_to_use_devices_that_work_are_let_pass(strategy, defaults):
    trainer = defaults.clone()
    trainer.update(
        Namespace({"accelerator": "cpu", "devices": 1, "max_steps": 4, "strategy": strategy})
    )
    assert check_job("run", Job(), trainer, None) == "cpu"


def test_the_fewest_steps_ask_for_no_whole_epoch_besides(defaults):
    """Lightning would train a first epoch to its end, past the steps that were asked for."""
    for given, expected in (
        ({"min_steps": 20}, 0),
        ({"min_steps": 20, "min_epochs": 2}, 2),
        ({}, None),
    ):
        trainer = defaults.clone()
        trainer.update(Namespace(given))
        assert plain_settings(trainer)["min_epochs"] == expected


def test_a_model_that_reads_its_texts_once_takes_no_share_of_them(defaults):
    for name in ("limit_train_batches", "overfit_batches"):
        trainer = defaults.clone()
        trainer[name] = 2
        with pytest.raises(
            ValueError, match=f"trainer.{name}=2: this model reads all of its texts once"
        ):
            check_settings("fit", trainer, one_pass=True)


@pytest.mark.parametrize("limit", [2, 5, 1.0, 0.5, 0.01])
def test_epochs_of_a_stream_are_as_long_as_its_limit_says(limit):
    """However often training stops: each epoch has as many batches, and the order is that of the
    whole stream.
    """
    order = [BatchStream(lambda epoch: range(7), 7, lambda: 0)[i] for i in range(40)]
    length = limited(7, limit)
    seen = []
    while len(seen) < 20:
        own = list(BatchStream(lambda epoch: range(7), 7, seen.__len__, limit=limit))
        assert len(own) == length - len(seen) % length
        seen += own[: 1 + len(seen) % 3]
    assert seen == order[: len(seen)]


def values(run, name):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["value"] for row in rows if row["name"] == name]


@pytest.mark.slow
def test_steps_and_the_schedule_count_the_limit_and_the_fewer_of_steps_and_epochs(
    lslm, translation, only_run
):
    """The last step of a cosine is the last of the run; a validation at half an epoch comes twice
    in one.
    """
    words = [
        "--trainer.limit_train_batches=4",
        "--trainer.max_epochs=3",
        "--trainer.max_steps=100",
        "--trainer.val_check_interval=0.5",
    ]
    outcome = lslm(
        "fit",
        "--config",
        translation,
        *words,
        "--model.schedule=Cosine",
        "--model.schedule.warmup_steps=0",
    )
    assert outcome.status == 0, outcome.err
    rates = values(only_run(), "train/learning_rate")
    n = 12
    assert rates == pytest.approx(
        [1e-3 * 0.5 * (1 + math.cos(math.pi * step / n)) for step in range(1, n + 1)]
    )
    assert len(values(only_run(), "val/bleu")) == 6


@pytest.mark.slow
def test_overfitting_repeats_the_first_batch_and_lowers_its_loss(lslm, translation, only_run):
    """Lightning documents it so: the same batches of both splits, without shuffling; config.yaml
    keeps the setting.
    """
    fast = [
        "--model.optimizer=torch.optim.AdamW",
        "--model.optimizer.lr=0.03",
        "--model.schedule=Constant",
        "--model.schedule.warmup_steps=0",
    ]
    words = [
        "--trainer.overfit_batches=1",
        "--trainer.max_steps=20",
        "--trainer.val_check_interval=10",
        "--model.backbone.dropout=0",
    ]
    outcome = lslm("fit", "--config", translation, *words, *fast)
    assert outcome.status == 0, outcome.err
    loss = values(only_run(), "train/loss")
    assert loss[-1] < loss[0] / 3
    assert (
        yaml.safe_load((only_run() / "config.yaml").read_text())["trainer"]["overfit_batches"] == 1
    )
    resumed = lslm("resume", only_run(), "--trainer.max_steps=24", "--trainer.overfit_batches=2")
    refused(resumed, 1, "overfit_batches 1 then", "overfit_batches 2 now")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trainer.limit_train_batches=0.001"], "trainer.limit_train_batches=0.001 of"),
        (["--trainer.overfit_batches=0.001"], "trainer.overfit_batches=0.001 of"),
        (["--trainer.limit_val_batches=0.001"], "trainer.limit_val_batches=0.001 of"),
        (
            ["--trainer.limit_test_batches=0.001"],
            "trainer.limit_test_batches=0.001 of 1 batches of the test split is less than 1",
        ),
        (
            ["--trainer.val_check_interval=999", "--trainer.check_val_every_n_epoch=1"],
            "trainer.val_check_interval=999 is more than",
        ),
        (
            ["--trainer.limit_train_batches=5", "--trainer.accumulate_grad_batches=2"],
            "5 batches an epoch, which must be a multiple",
        ),
        (
            [
                "--model.max_source_length=5",
                "--data.max_source_length=9",
                "--data.truncate=true",
            ],
            "model.max_source_length=5 and data.max_source_length=9 must be equal",
        ),
        (["--trainer.strategy=ddp_spawn"], "trainer.strategy=ddp_spawn"),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_bleu"],
            "val_bleu, which is called val/bleu here",
        ),
        (
            ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=-1"],
            "model.optimizer: Invalid learning rate",
        ),
        (
            ["--trainer.max_steps=-1", "--trainer.max_time=00:00:01:00"],
            "trainer.max_time=00:00:01:00 stops a training",
        ),
    ],
)
def test_what_only_the_data_can_tell_is_refused_before_there_is_a_run(
    words, told, lslm, translation
):
    refused(lslm("run", "--config", translation, *words), 1, told)
    assert not list(Path("runs").glob("*/*"))


def test_a_timer_without_time_is_refused_by_the_name_that_was_given(defaults):
    tried = tried_trainer(defaults)
    with pytest.raises(ValueError, match=r"trainer.callbacks: Timer leaves no time to train"):
        check_given_callbacks(tried, [Timer(duration="00:00:00:00")])
    check_given_callbacks(tried, [Timer(duration={"hours": 1})])
    trainer = defaults.clone()
    trainer.max_time = "00:00:00:00"
    with pytest.raises(ValueError, match=r"trainer.max_time=00:00:00:00 leaves no time to train"):
        tried_trainer(trainer)


@pytest.mark.parametrize("kind", [RichProgressBar, lambda: EarlyStopping("val/loss")])
def test_callbacks_that_exclude_each_other_are_refused_on_one_line(kind, defaults):
    with pytest.raises(ValueError, match=r"^trainer: [^\n]+$"):
        check_given_callbacks(tried_trainer(defaults), [kind(), kind()])


@pytest.mark.slow
def test_bars_timers_and_profiles_of_lightning_work(lslm, translation, only_run):
    bar = "--trainer.callbacks+=RichProgressBar"
    timer = "--trainer.callbacks+=Timer"
    outcome = lslm(
        "fit",
        "--config",
        translation,
        bar,
        timer,
        "--trainer.callbacks.duration={hours: 1}",
        "--trainer.profiler=simple",
    )
    assert outcome.status == 0, outcome.err
    assert list(only_run().glob("*profile*.txt"))
    [given] = [
        c
        for c in yaml.safe_load((only_run() / "config.yaml").read_text())["trainer"]["callbacks"]
        if "Timer" in c["class_path"]
    ]
    assert given["init_args"]["interval"] == "step"
    assert torch.load(only_run() / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


def test_where_nothing_is_profiled_hooks_nest_and_a_named_profiler_still_measures(tmp_path):
    nothing = profiler_of(None, tmp_path)
    with nothing.profile("outer"), nothing.profile("inner"):
        pass
    with pytest.raises(KeyError), nothing.profile("an error"):
        raise KeyError("passes through")
    simple = profiler_of("simple", tmp_path)
    with simple.profile("outer"):
        pass
    assert len(simple.recorded_durations["outer"]) == 1
    assert profiler_of(simple, tmp_path) is simple
