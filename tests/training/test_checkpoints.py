from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lslm_lightning.optim import Constant, Cosine, InverseSquareRoot, Linear, WarmupStableDecay
from lslm_lightning.training.budget import RESERVE, Budget
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.distributed.checkpoint_io import (
    AtomicCheckpointIO,
    mean_of_weights,
    save_atomically,
)
from tests.training.conftest import copies_of_tasks, fit, language_task, translation_task

pytestmark = pytest.mark.slow

VALIDATED = {"limit_val_batches": 1.0, "val_check_interval": 1}


def test_the_best_by_validation_and_the_last_are_kept(text_data, tmp_path):
    data = text_data()
    task = language_task(data, optimizer=lambda p: torch.optim.SGD(p, lr=50.0))  # it gets worse
    seen = []

    class Recording(Checkpoints):
        def keep(self, trainer, task):
            super().keep(trainer, task)
            seen.append(float(trainer.callback_metrics["val/loss"]))

    checkpoints = Recording(tmp_path)
    fit(task, data, [checkpoints], max_steps=5, **VALIDATED)
    best, last = (
        torch.load(path, weights_only=True) for path in (checkpoints.best, checkpoints.last)
    )
    assert best["global_step"] == 1 + seen.index(min(seen)) != last["global_step"] == 5
    assert checkpoints.best_score == min(seen)
    assert best["tokenizer_digest"] == data.tokenizer.digest


def test_mean_of_weights_is_their_mean(text_data, tmp_path):
    data = text_data()
    checkpoints = Checkpoints(tmp_path, average=3)
    fit(language_task(data), data, [checkpoints], max_steps=5, **VALIDATED)
    states = [
        torch.load(path, weights_only=True)["state_dict"] for path in checkpoints.files.steps()
    ]
    assert len(states) == 3
    mean = mean_of_weights(checkpoints.files.steps())
    assert mean["global_step"] == 5
    for name, weight in mean["state_dict"].items():
        torch.testing.assert_close(
            weight, torch.stack([s[name] for s in states]).mean(0), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize(
    ("average", "interval", "rate", "wins"),
    [(3, 1, 5.0, True), (3, 1, 2.0, False), (0, 5, 2.0, True), (0, 5, 30.0, False)],
    ids=[
        "the mean of steps that overshoot",
        "the mean of an ascent",
        "a last state of an ascent",
        "a last state that overshoots",
    ],
)
def test_a_state_becomes_the_best_exactly_where_it_validates_better(
    average, interval, rate, wins, text_data, tmp_path
):
    data = text_data()
    checkpoints = Checkpoints(tmp_path, average=average)
    task = language_task(data, optimizer=lambda p: torch.optim.SGD(p, lr=rate))
    trainer = fit(
        task, data, [checkpoints], max_steps=6, limit_val_batches=1.0, val_check_interval=interval
    )
    candidate = (
        mean_of_weights(checkpoints.files.steps())
        if average
        else torch.load(checkpoints.last, weights_only=True)
    )
    before = torch.load(checkpoints.best, weights_only=True)
    score = checkpoints.best_score
    checkpoints.finalize(trainer, task)
    best = torch.load(checkpoints.best, weights_only=True)["state_dict"]
    expected = (candidate if wins else before)["state_dict"]
    assert all(torch.equal(best[name], expected[name]) for name in expected)
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {
        "best.ckpt",
        "last.ckpt",
        "last-1.ckpt",
    }

    task.load_state_dict(candidate["state_dict"])
    [values] = trainer.validate(task, datamodule=data, verbose=False)
    assert (values["val/loss"] < score) == wins
    assert checkpoints.best_score == pytest.approx(values["val/loss"] if wins else score)


@pytest.mark.parametrize(
    ("average", "limit", "words"),
    [
        (3, 1.0, "job.average=3, but only 2 checkpoints"),
        (3, 0, "job.average=3, but only 0 checkpoints"),
        (2, 1.0, ""),
        (0, 0, ""),
    ],
)
def test_fewer_states_than_are_to_be_averaged_are_told(
    average, limit, words, text_data, tmp_path, capsys
):
    data = text_data()
    checkpoints = Checkpoints(tmp_path, average=average)
    task = language_task(data)
    settings = {"max_steps": 4, "limit_val_batches": limit, "val_check_interval": 2}
    checkpoints.finalize(fit(task, data, [checkpoints], **settings), task)
    said = capsys.readouterr().out
    assert words in said
    assert ("job.average" in said) == bool(words)


def test_a_save_that_fails_leaves_the_old_state(tmp_path):
    class Full(Trainer):
        lightning_module = torch.nn.Linear(1, 1)

        def save_checkpoint(self, path, *args, **kwargs):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"whole")
    trainer = Full(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with pytest.raises(OSError, match="No space left"):
        save_atomically(trainer, path)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


class Clock(Callback):
    """A clock for `Budget` on which each batch of training takes as long as `seconds` says of its
    step, and nothing else takes time.
    """

    def __init__(self, monkeypatch, seconds):
        self.now = 0.0
        self.seconds = seconds
        monkeypatch.setattr(
            "lslm_lightning.training.budget.time", SimpleNamespace(monotonic=lambda: self.now)
        )

    def on_train_batch_start(self, trainer, task, *args):
        self.now += self.seconds(trainer.global_step)


@pytest.mark.parametrize(
    "schedule",
    [Cosine(0), Cosine(60), Linear(60), WarmupStableDecay(60), Constant(), InverseSquareRoot(60)],
    ids=repr,
)
def test_measuring_a_budget_leaves_the_run_as_it_was(translation_data, monkeypatch, schedule):
    """The steps of a run with a budget equal those of a run that was given the same number, however
    wrong the first measure was.
    """
    # the first cannot be shortened once it has begun
    seconds = 0.02 if schedule == Cosine(0) else 0.001
    monkeypatch.setattr(Budget, "_measure_step", lambda self, trainer, task: seconds)
    steps = []
    ends = []
    for limits in ({"max_steps": -1, "max_epochs": -1}, {}):
        data = translation_data()
        task = translation_task(data, schedule=schedule)
        budget = Budget(0.02, lambda *told: steps.append(told))
        budgets = [] if ends else [Clock(monkeypatch, lambda step: 0.01), budget]
        limits = limits or {"max_steps": steps[-1][0]}
        trainer = fit(task, data, budgets, **limits, limit_val_batches=1.0, val_check_interval=100)
        assert trainer.global_step == steps[-1][0] > 1
        ends.append(task.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert [settled for _, settled in steps] == [False] * (len(steps) - 1) + [True]
    if schedule == Cosine(0):
        assert len(steps) == 1
    else:
        assert steps[0][0] > 1.5 * steps[-1][0], "a step takes longer than was said"


@pytest.mark.parametrize(
    ("schedule", "slows_at"),
    [(Cosine(60), 50), (WarmupStableDecay(60), 50), (WarmupStableDecay(60), 140)],
    ids=repr,
)
def test_a_machine_that_becomes_slower_leaves_the_steps_so_far_as_they_were(
    translation_data, monkeypatch, schedule, slows_at
):
    """With a clock of its own: steps take 10 ms, and 40 from one step on; what was trained belongs
    to the number that is settled.
    """
    steps: list[tuple[int, bool]] = []
    rates: list[tuple[int, float]] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, task, *args):
            rates.append((trainer.global_step, schedule(trainer.global_step, task.n_step)))

    monkeypatch.setattr(Budget, "_measure_step", lambda self, trainer, task: 0.01)
    clock = Clock(monkeypatch, lambda step: 0.01 if step < slows_at else 0.04)
    data = translation_data()
    budget = Budget(0.05, lambda *told: steps.append(told))
    trainer = fit(
        translation_task(data, schedule=schedule),
        data,
        [clock, Rates(), budget],
        max_steps=-1,
        max_epochs=-1,
        val_check_interval=100,
    )
    n_step = steps[-1][0]
    assert steps[-1][1]
    assert trainer.global_step == n_step
    assert n_step < steps[0][0] or slows_at > 50, "it is settled at step 60 or later"
    assert [rate for _, rate in rates] == [schedule(step, n_step) for step, _ in rates]


def test_a_budget_counts_validations_of_every_other_epoch(translation_data, monkeypatch, capsys):
    """A validation takes as long as 100 steps: their number decides how many steps fit."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer, task, *args):
            trainer.should_stop = True

    monkeypatch.setattr(Budget, "_measure_step", lambda self, trainer, task: 0.01)
    monkeypatch.setattr(Budget, "_measure_validation", lambda self, trainer, task: 1.0)
    for n_epoch in (1, 2):
        data = translation_data(n_validation_example=0)
        n_step: list[int] = []
        budget = Budget(1.0, lambda n, is_final, n_step=n_step: n_step.append(n))
        trainer = fit(
            translation_task(data, schedule=Cosine(0)),
            data,
            [Clock(monkeypatch, lambda step: 0.0), budget, Stop()],
            max_steps=-1,
            max_epochs=-1,
            limit_val_batches=1,
            val_check_interval=1.0,
            check_val_every_n_epoch=n_epoch,
        )
        every = n_epoch * trainer.num_training_batches
        assert f"a validation of 1 s every {every} steps" in capsys.readouterr().out
        assert n_step == [int((60 * (1 - RESERVE) - 1.0) / (0.01 + 1.0 / every))]


@pytest.mark.parametrize("settings", [{"accumulate_grad_batches": 3}, {"val_check_interval": 20}])
def test_a_budget_with_windows_and_with_early_validations(translation_data, monkeypatch, settings):
    steps = []
    clock = Clock(monkeypatch, lambda step: 0.01)
    monkeypatch.setattr(
        Budget, "_measure_step", lambda self, trainer, task: 0.01 * trainer.accumulate_grad_batches
    )
    data = translation_data()
    settings = {
        "max_steps": -1,
        "max_epochs": -1,
        "limit_val_batches": 1.0,
        "val_check_interval": 90,
    } | settings
    trainer = fit(
        translation_task(data),
        data,
        [clock, Budget(0.02, lambda *told: steps.append(told))],
        **settings,
    )
    assert trainer.global_step == steps[-1][0] > 1
    assert steps[-1][1]


def test_a_budget_must_be_more_than_nothing():
    with pytest.raises(ValueError, match="minutes=0"):
        Budget(0, print)


def test_the_copy_that_a_budget_measures_is_freed(text_data, monkeypatch):
    copies = copies_of_tasks(monkeypatch)
    left = []

    class Look(Callback):
        def on_train_batch_start(self, *args):
            left.append([copy() for copy in copies])

    data = text_data()
    fit(language_task(data), data, [Budget(0.001, lambda *told: None), Look()], max_steps=-1)
    assert left[0] == [None]


class FullDisk(TorchCheckpointIO):
    """Writes half of a file."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_what_lightning_saves_is_whole_or_not_there(text_data, tmp_path, monkeypatch):
    """The plugin alone, with a callback of Lightning."""
    data = text_data()
    task = language_task(data)
    plugin = AtomicCheckpointIO(task)
    folder = tmp_path / "kept"
    saved = ModelCheckpoint(folder, "one", save_weights_only=True, every_n_train_steps=2)
    fit(task, data, [saved, Checkpoints(tmp_path / "run")], max_steps=2, plugins=[plugin])
    path = folder / "one.ckpt"
    before = path.read_bytes()
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], value) for name, value in task.state_dict().items())
    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", FullDisk.save_checkpoint)
    with pytest.raises(OSError, match="No space left"):
        plugin.save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]
