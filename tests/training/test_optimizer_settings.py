"""Training that goes on under other optimizer settings: applied as a fresh optimizer has them, or
refused by name.
"""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lslm_lightning.optim import Constant, Cosine, Linear
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.optimizer_settings import (
    ChangedSettings,
    refuse_optimizer,
    shapes_in_order,
)
from tests.training.conftest import fit, language_task

pytestmark = pytest.mark.slow

OPTIM = torch.optim


def of(kind, **settings):
    return lambda parameters: kind(parameters, **settings)


STEADY = (Constant(0), Constant(0))


def go_on(text_data, folder, before, after, schedules=STEADY, n_step=4):
    """Three steps with the settings of before, and on to `n_step` with those of after; the second
    trainer and the state between.
    """
    for optimizer, schedule, end, path in (
        (before, schedules[0], 3, None),
        (after, schedules[1], n_step, folder / "last.ckpt"),
    ):
        data = text_data()
        task = language_task(data, optimizer=optimizer, schedule=schedule)
        state = path and torch.load(path, weights_only=True)
        trainer = fit(
            task, data, [ChangedSettings(), Checkpoints(folder)], path and str(path), max_steps=end
        )
    return trainer, state


CHANGES = [
    (of(OPTIM.AdamW, lr=1e-3), of(OPTIM.AdamW, lr=0.1)),
    (
        of(OPTIM.AdamW, lr=1e-3),
        of(OPTIM.AdamW, lr=1e-3, weight_decay=0.5, betas=(0.5, 0.9), eps=1e-3),
    ),
    (of(OPTIM.SGD, lr=0.1), of(OPTIM.SGD, lr=0.2, momentum=0.9, weight_decay=0.1)),
    (of(OPTIM.RMSprop, lr=1e-3, alpha=0.9), of(OPTIM.RMSprop, lr=1e-4, alpha=0.5)),
    (of(OPTIM.AdamW, lr=1e-3, amsgrad=True), of(OPTIM.AdamW, lr=1e-3, amsgrad=False)),
]


@pytest.mark.parametrize("is_old", [False, True], ids=["", "a checkpoint of an earlier release"])
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_changed_settings_are_those_of_a_fresh_optimizer(
    before, after, is_old, text_data, tmp_path, monkeypatch
):
    if is_old:
        keep = ChangedSettings.on_load_checkpoint
        records = ("optimizers", "schedules")

        def forget(self, trainer, task, state):
            keep(self, trainer, task, {n: v for n, v in state.items() if n not in records})

        monkeypatch.setattr(ChangedSettings, "on_load_checkpoint", forget)
    trainer, _ = go_on(text_data, tmp_path, before, after)
    task = trainer.lightning_module
    fresh = task.configure_optimizers()["optimizer"]
    for group, expected in zip(trainer.optimizers[0].param_groups, fresh.param_groups, strict=True):
        assert {n: v for n, v in group.items() if n != "params"} == {
            n: v for n, v in expected.items() if n != "params"
        }


def test_the_next_step_is_made_with_the_new_rate_and_the_old_moments(text_data, tmp_path):
    """The step of gradient descent with momentum grows with the rate, so that twice the rate is
    twice the way.
    """
    ends = []
    for rate in (0.1, 0.2):
        trainer, state = go_on(
            text_data,
            tmp_path / str(rate),
            of(OPTIM.SGD, lr=0.1, momentum=0.9),
            of(OPTIM.SGD, lr=rate, momentum=0.9),
        )
        start = state["state_dict"]
        ends.append(
            {n: p.detach() - start[n] for n, p in trainer.lightning_module.named_parameters()}
        )
    for name, way in ends[0].items():
        torch.testing.assert_close(ends[1][name], 2 * way, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("before", "after", "n_step"), [(1, 4, 5), (5, 2, 3)])
def test_a_changed_patience_stops_when_it_says(before, after, n_step, text_data, tmp_path, capsys):
    """A loss that never gets better: the first validation counts none."""

    def train(patience, n_step, path=None):
        data = text_data()
        task = language_task(data, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
        stop = EarlyStopping("val/loss", patience=patience, verbose=False)
        callbacks = [ChangedSettings(), stop, Checkpoints(tmp_path)]
        return fit(
            task,
            data,
            callbacks,
            path,
            max_steps=n_step,
            limit_val_batches=1.0,
            val_check_interval=1,
        )

    train(before, 2)
    trainer = train(after, 20, str(tmp_path / "last.ckpt"))
    assert (
        f"EarlyStopping of val/loss: patience from {before} to {after}" in capsys.readouterr().out
    )
    assert trainer.global_step == n_step


def test_what_did_not_change_is_not_touched(text_data, tmp_path):
    """A setting that a callback had changed while training stays as it was saved."""

    class Decay(ChangedSettings):
        def on_train_end(self, trainer, task):
            trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.25

    for number in (3, 4):
        data = text_data()
        path = tmp_path / "last.ckpt"
        callbacks = [Decay() if number == 3 else ChangedSettings(), Checkpoints(tmp_path)]
        start = str(path) if path.exists() else None
        trainer = fit(
            language_task(data, schedule=Constant(0)), data, callbacks, start, max_steps=number
        )
    assert trainer.optimizers[0].param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize(
    ("before", "after"),
    [(Constant(0), Linear(0)), (Linear(0), Cosine(2)), (Cosine(2), Constant(0))],
)
def test_the_first_rate_after_going_on_is_that_of_the_present_schedule(
    before, after, text_data, tmp_path, monkeypatch
):
    rates = []
    begin = ChangedSettings.on_train_start

    def keep(self, trainer, task):
        begin(self, trainer, task)
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(ChangedSettings, "on_train_start", keep)
    go_on(
        text_data, tmp_path, of(OPTIM.SGD, lr=0.5), of(OPTIM.SGD, lr=0.5), (before, after), n_step=8
    )
    assert rates[-1] == 0.5 * after(3, 8)


REFUSALS = [
    (
        of(OPTIM.AdamW, lr=1e-3),
        of(OPTIM.SGD, lr=0.1),
        "SGD cannot resume from the state of another optimizer",
    ),
    (of(OPTIM.SGD, lr=1e-3), of(OPTIM.AdamW, lr=0.1), "AdamW cannot resume"),
    (of(OPTIM.AdamW, lr=1e-3), of(OPTIM.NAdam, lr=0.1), "NAdam cannot resume"),
    (of(OPTIM.Adagrad, lr=1e-3), of(OPTIM.RMSprop, lr=0.1), "RMSprop cannot resume"),
    (
        of(OPTIM.AdamW, lr=1e-3),
        of(OPTIM.AdamW, lr=1e-3, amsgrad=True),
        "amsgrad from False to True cannot change",
    ),
    (
        of(OPTIM.RMSprop, lr=1e-3),
        of(OPTIM.RMSprop, lr=1e-3, momentum=0.9),
        "momentum from 0 to 0.9 cannot change",
    ),
    (
        of(OPTIM.RMSprop, lr=1e-3),
        of(OPTIM.RMSprop, lr=1e-3, centered=True),
        "centered from False to True cannot change",
    ),
]


@pytest.fixture
def saved(text_data, tmp_path):
    """`optimizer -> (a state of training, shapes of the trained parameters)`."""

    def save(optimizer):
        data = text_data()
        task = language_task(data, optimizer=optimizer)
        fit(task, data, [Checkpoints(tmp_path)], max_steps=1)
        return torch.load(tmp_path / "last.ckpt", weights_only=True), shapes_in_order(task)

    return save


@pytest.mark.parametrize(("before", "after", "words"), REFUSALS)
def test_what_the_saved_state_cannot_serve_is_refused_by_name(before, after, words, saved):
    state, shapes = saved(before)
    refuse_optimizer(state, before, shapes)
    for checkpoint in (
        state,
        {name: value for name, value in state.items() if name != "optimizers"},
    ):
        with pytest.raises(ValueError, match=words):
            refuse_optimizer(checkpoint, after, shapes)


def test_other_numbers_of_optimizers_weights_and_schedules_are_refused(saved):
    adam = of(OPTIM.AdamW, lr=1e-3)
    state, shapes = saved(adam)
    for words, change in {
        "trains 19 tensors": lambda s: s["optimizer_states"][0]["param_groups"][0]["params"].append(
            99
        ),
        "states of 2 optimizers": lambda s: s["optimizer_states"].append(s["optimizer_states"][0]),
        "schedule is of another class": lambda s: s["lr_schedulers"][0].pop("lr_lambdas"),
    }.items():
        other = copy.deepcopy(state)
        change(other)
        with pytest.raises(ValueError, match=words.replace("19", str(len(shapes) + 1))):
            refuse_optimizer(other, adam, shapes)


def test_a_state_for_parameters_in_another_order_is_refused(saved):
    """A fused optimizer would write beyond the end of the smaller ones."""
    adam = of(OPTIM.AdamW, lr=1e-3, fused=True)
    state, shapes = saved(adam)
    other = shapes[::-1]
    assert other != shapes
    with pytest.raises(ValueError, match=r"exp_avg of shape .* for parameter 0, which is"):
        refuse_optimizer(state, adam, other)


def test_a_task_with_optimizers_of_its_own_is_refused_another_schedule(text_data, tmp_path):
    def task(data, kind):
        made = language_task(data)
        made.configure_optimizers = lambda: [[o := OPTIM.SGD(made.parameters(), lr=0.1)], [kind(o)]]
        return made

    data = text_data()
    step = partial(OPTIM.lr_scheduler.StepLR, step_size=1)
    cosine = partial(OPTIM.lr_scheduler.CosineAnnealingLR, T_max=9)
    fit(task(data, step), data, [ChangedSettings(), Checkpoints(tmp_path)], max_steps=2)
    for kind, words in ((step, None), (cosine, "StepLR, .* uses .*CosineAnnealingLR")):
        again = text_data()
        path = str(tmp_path / "last.ckpt")
        if words is None:
            fit(task(again, kind), again, [ChangedSettings()], path, max_steps=3)
        else:
            with pytest.raises(ValueError, match=words):
                fit(task(again, kind), again, [ChangedSettings()], path, max_steps=3)
