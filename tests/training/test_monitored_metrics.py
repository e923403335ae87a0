"""A callback monitors what a training logs; anything else is refused before a run begins."""

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from lslm_lightning.configuration.monitors import check_monitors, metrics_of_training
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.callbacks.curve import CURVE
from lslm_lightning.training.callbacks.evaluation import RunEvaluationCallback
from lslm_lightning.training.callbacks.progress import Reporter
from tests.training.conftest import fit, language_task, translation_task

VALIDATED = {"limit_val_batches": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["translation", "text", "unknown characters"])
def test_what_is_said_to_exist_is_what_a_validation_logs(
    kind, translation_data, text_data, text, tmp_path
):
    if kind == "unknown characters":
        (text / "val.txt").write_text("red cat 红 " * 20)
    data = translation_data() if kind == "translation" else text_data()
    task = (translation_task if kind == "translation" else language_task)(data)
    expected = metrics_of_training(task, data, VALIDATED)
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    exam = RunEvaluationCallback(directory, Tracker("task", "run", directory.path))
    stops = [EarlyStopping(name, patience=100) for name in CURVE]
    callbacks = [*stops, exam, Reporter(shown=False)]
    trainer = fit(
        task, data, callbacks, max_steps=2, val_check_interval=1, log_every_n_steps=50, **VALIDATED
    )
    assert {*expected} == {
        name for name in trainer.callback_metrics if name.startswith(("val/", "train/"))
    }
    assert {*CURVE} < {*expected}


@pytest.mark.slow
def test_the_end_of_a_short_epoch_knows_the_loss(translation_data):
    data = translation_data(max_tokens=400)
    stop = EarlyStopping("train/loss", patience=100, check_on_train_epoch_end=True)
    trainer = fit(
        translation_task(data), data, [stop, Reporter(shown=False)], max_steps=-1, max_epochs=1
    )
    assert float(trainer.callback_metrics["train/loss"]) == float(stop.best_score) > 0


class UserCallback(Callback):
    """Logs `mine/score`, for all that is known of it."""


@pytest.mark.parametrize(
    ("callbacks", "told"),
    [
        (
            [EarlyStopping("val/blue")],
            r"EarlyStopping monitors val/blue, which nothing logs \(did you mean val/bleu\?\)",
        ),
        ([EarlyStopping("loss")], "monitors loss, which nothing logs"),
        (
            [ModelCheckpoint(monitor="val/perplexity")],
            "ModelCheckpoint monitors val/perplexity, which nothing logs",
        ),
        (
            [EarlyStopping("test/bleu")],
            r"monitors test/bleu.*; there are val/loss, val/bleu.*, train/loss",
        ),
        ([EarlyStopping("lr-AdamW")], "monitors lr-AdamW"),
        ([EarlyStopping("epoch")], "monitors epoch"),
        ([EarlyStopping("data/train_pairs")], "monitors data/train_pairs"),
        ([EarlyStopping("val_loss", strict=False)], "val_loss, which is called val/loss here"),
        ([UserCallback(), EarlyStopping("val_bleu")], "val_bleu, which is called val/bleu here"),
    ],
)
def test_a_metric_that_nothing_logs_is_refused_with_those_that_exist(
    callbacks, told, translation_data
):
    data = translation_data()
    with pytest.raises(ValueError, match=f"^trainer.callbacks: .*{told}"):
        check_monitors(callbacks, translation_task(data), data, VALIDATED)


@pytest.mark.parametrize(
    "callbacks",
    [
        [
            EarlyStopping("val/loss"),
            EarlyStopping("val/bleu", mode="max"),
            EarlyStopping("train/loss"),
        ],
        [
            ModelCheckpoint(),
            ModelCheckpoint(monitor="step", mode="max"),
            ModelCheckpoint(monitor="val/loss"),
        ],
        [EarlyStopping("lr-AdamW"), LearningRateMonitor()],
        [EarlyStopping("mine/score"), UserCallback()],
        [EarlyStopping("val/sometimes", strict=False)],
    ],
)
def test_metrics_that_exist_or_may_exist_are_let_pass(callbacks, translation_data):
    data = translation_data()
    check_monitors(callbacks, translation_task(data), data, VALIDATED)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"val_check_interval": 500}, "trainer.val_check_interval=500 validates later"),
        (
            {"val_check_interval": 2, "limit_train_batches": 1},
            "which has 1 batches, and trainer.val_check_interval=2",
        ),
        (
            {"val_check_interval": 1.0, "check_val_every_n_epoch": 2},
            "trainer.check_val_every_n_epoch=2 validates later",
        ),
        ({"val_check_interval": 2}, ""),
        ({"val_check_interval": 0.5, "check_val_every_n_epoch": 1}, ""),
    ],
)
@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_what_is_looked_at_before_the_first_validation_is_refused(
    kind, settings, told, translation_data
):
    data = translation_data()
    name = "check_on_train_epoch_end" if kind is EarlyStopping else "save_on_train_epoch_end"
    usual = {
        "accumulate_grad_batches": 1,
        "limit_train_batches": None,
        "check_val_every_n_epoch": None,
    }
    given = [
        [kind(monitor="val/loss", **{name: True})],
        translation_task(data),
        data,
        {**VALIDATED, **usual, **settings},
    ]
    if not told:
        check_monitors(*given)
        return
    with pytest.raises(ValueError, match=told) as refused:
        check_monitors(*given)
    assert f"{kind.__name__} monitors val/loss at the end of each epoch" in str(refused.value)


def test_the_setting_that_leaves_a_metric_out_is_named(translation_data):
    data = translation_data()
    with pytest.raises(
        ValueError, match=r"trainer.limit_val_batches=0 turns validation off; there are train/loss"
    ):
        check_monitors(
            [EarlyStopping("val/loss")], translation_task(data), data, {"limit_val_batches": 0}
        )
    data = translation_data(n_validation_example=0)
    with pytest.raises(
        ValueError, match=r"data.n_validation_example=0 leaves validation no examples"
    ):
        check_monitors([EarlyStopping("val/bleu")], translation_task(data), data, VALIDATED)
