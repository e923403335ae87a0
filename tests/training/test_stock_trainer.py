"""A task with Lightning's own Trainer, loggers and callbacks, and nothing else of this library."""

import csv

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import Constant, Linear
from lslm_lightning.text.recipes import Characters
from lslm_lightning.training.callbacks.progress import Reporter
from tasks.translation.data import TranslationData
from tasks.translation.task import TranslationTask

pytestmark = pytest.mark.slow

BASE_LR = 0.01


def adam(parameters):
    return torch.optim.Adam(parameters, lr=BASE_LR)


def make_task(data, **settings):
    torch.manual_seed(0)
    backbone = Transformer(d_model=16, n_head=2, n_encoder_layer=1, n_decoder_layer=1)
    return TranslationTask(backbone, data.tokenizer, optimizer=adam, max_length=20, **settings)


@pytest.fixture
def data(pairs):
    return TranslationData(
        str(pairs), Characters(), source_language="en", target_language="de", max_tokens=120
    )


@pytest.fixture
def make_trainer(tmp_path):
    def make(*callbacks, **settings):
        seed_everything(0, verbose=False)
        return Trainer(
            accelerator="cpu",
            devices=1,
            logger=CSVLogger(tmp_path),
            callbacks=list(callbacks),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )

    return make


def columns(trainer):
    """Return the values of metrics.csv by column and step."""
    found = {}
    with open(f"{trainer.logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text:
                    found.setdefault(name, {})[int(row["step"])] = float(text)
    return found


def test_a_csv_file_has_the_curves(data, make_trainer):
    task = make_task(data, schedule=Linear(warmup_steps=2))
    best = ModelCheckpoint(monitor="val/loss", save_top_k=1)
    trainer = make_trainer(best, LearningRateMonitor("step"), max_epochs=3)
    trainer.fit(task, datamodule=data)
    found = columns(trainer)
    n_step = trainer.global_step
    assert n_step > 6
    assert len(found["val/loss"]) == len(found["val/bleu"]) == 3
    assert list(found["val/loss"].values()) == sorted(found["val/loss"].values(), reverse=True)
    assert min(found["val/loss"].values()) == pytest.approx(float(best.best_model_score))
    rates = found["lr-Adam/pg1"]
    assert rates == pytest.approx(
        {step: BASE_LR * task.schedule(step, n_step) for step in range(n_step)}
    )
    [validated] = trainer.validate(task, data, ckpt_path=best.best_model_path, verbose=False)
    assert validated["val/loss"] == pytest.approx(float(best.best_model_score), rel=1e-5)


def test_training_stops_where_the_score_does_not_rise(data, make_trainer):
    task = make_task(data, schedule=Constant(0))
    stop = EarlyStopping("val/bleu", mode="max", patience=2, min_delta=1000.0)
    trainer = make_trainer(stop, max_epochs=50, enable_checkpointing=False)
    trainer.fit(task, datamodule=data)
    assert trainer.current_epoch == 3
    assert stop.best_score == columns(trainer)["val/bleu"][trainer.global_step // 3 - 1]


def test_the_training_loss_is_logged_once_with_or_without_our_reporter(data, make_trainer):
    curves = []
    for callbacks in ([], [Reporter(shown=False)]):
        task = make_task(data)
        calls: list[int] = []
        loss = task.loss

        def counted(batch, label_smoothing=0.0, loss=loss, calls=calls):
            calls.append(batch.n_token)
            return loss(batch, label_smoothing)

        task.loss = counted
        trainer = make_trainer(*callbacks, max_epochs=2, num_sanity_val_steps=0)
        trainer.fit(task, datamodule=data)
        found = columns(trainer)
        curves.append({name: found[name] for name in ("train/loss", "train/tokens", "val/loss")})
        assert list(found["train/loss"]) == list(range(1, trainer.global_step + 1))
        assert len(found["val/loss"]) == 2
        n_val_batch = sum(map(int, trainer.num_val_batches))
        assert len(calls) == trainer.global_step + 2 * n_val_batch, "nothing is computed twice"
        losses = list(found["train/loss"].values())
        assert losses[-1] < losses[0]
        assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(losses[-1])
    assert curves[0] == curves[1]


def test_strict_loading_and_output_are_the_users_own(data, make_trainer, tmp_path, capsys):
    """A task with a part that the checkpoint lacks, as an adapter, loads where it is not strict."""
    trainer = make_trainer(max_steps=2, limit_val_batches=0)
    trainer.fit(make_task(data), data)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    more = make_task(data)
    more.adapter = torch.nn.Linear(2, 2)
    capsys.readouterr()
    with pytest.raises(ValueError, match="only the model has adapter"):
        make_trainer(max_steps=3).validate(more, data, ckpt_path=tmp_path / "first.ckpt")
    more.strict_loading = False
    make_trainer(max_steps=3).validate(
        more, data, ckpt_path=tmp_path / "first.ckpt", weights_only=False
    )
    make_trainer(max_steps=3).fit(
        make_task(data), data, ckpt_path=tmp_path / "first.ckpt", weights_only=False
    )
    assert "resuming from step" not in capsys.readouterr().out
