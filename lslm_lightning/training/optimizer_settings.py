"""Optimizer and early-stopping settings when training resumes: changes are applied, or refused with
a message that names them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import OptimizerCallable
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lslm_lightning.optim import Cosine, decay_groups
from lslm_lightning.training.distributed.fsdp import GROUPS
from lslm_lightning.training.lightning_internals import callbacks_of
from lslm_lightning.types import Json, JsonObject, Settings, StateDict

NOT_SETTINGS = ("params", "initial_lr")
# parts of an optimizer's state that have the shape of their parameter
LIKE_PARAMETER = (
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer"),
    *("square_avg", "acc_delta", "sum", "prev"),
)

Changes: TypeAlias = Mapping[str, tuple[Json, Json]]  # values before and now, by name of a setting


# Optimizer and schedule of a task where nothing else is set. The optimizer is written as in a
# config: the parser shows and changes parts of a default that several constructors share only so.
# Its help shows what is written here, so the learning rate is, which is PyTorch's own too.
ADAMW: OptimizerCallable = {  # type: ignore[assignment]  # `Task` calls `optimizer_builder`
    "class_path": "torch.optim.AdamW",
    "init_args": {"lr": 1e-3, "weight_decay": 0.01, "fused": True},
}
COSINE = Cosine(warmup_steps=200)


def optimizer_builder(spec: OptimizerCallable | Settings) -> OptimizerCallable:
    """Return the function that builds an optimizer from parameters or parameter groups.

    Args:
        spec: the function itself, or a mapping of `class_path` and `init_args` as in a config.
    """
    if callable(spec):
        return spec
    module, _, name = spec["class_path"].rpartition(".")
    return partial(getattr(import_module(module), name), **spec["init_args"])


def recorded(optimizer: Optimizer) -> JsonObject:
    """Return the class of an optimizer and the settings it was built with, as plain data for a
    checkpoint: {"class": ..., "settings": {...}}.
    """
    settings = {name: plain(value) for name, value in optimizer.defaults.items()}
    return {
        "class": name_of(optimizer),
        "settings": {n: v for n, v in settings.items() if is_plain(v)},
    }


def name_of(built: Optimizer | LRScheduler) -> str:
    """Return the import path of the class of an optimizer or a schedule."""
    return f"{type(built).__module__}.{type(built).__qualname__}"


def plain(value: Json) -> Json:
    """Return a setting as plain data: a tensor of one element as a number, a list as a tuple."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta:
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def is_plain(value: object) -> bool:
    """Return whether a setting can be read back from a checkpoint without running code."""
    if isinstance(value, tuple):
        return all(is_plain(each) for each in value)
    return value is None or isinstance(value, int | float | str)


def settings_of(group: JsonObject) -> JsonObject:
    """Return the settings of a parameter group by name; `lr` is the rate without the schedule's
    factor.
    """
    found = {name: plain(value) for name, value in group.items() if name not in NOT_SETTINGS}
    if "initial_lr" in group:
        found["lr"] = plain(group["initial_lr"])
    return found


def saved_groups(checkpoint: StateDict) -> list[list[JsonObject]]:
    """Return the parameter groups of each optimizer in a checkpoint, which is a file or a
    folder.
    """
    groups = [
        state["param_groups"]
        for state in checkpoint.get("optimizer_states", [])
        if "param_groups" in state
    ]
    return groups or checkpoint.get(GROUPS, [])


def changed_settings(
    checkpoint: StateDict, number: int, now: Settings
) -> dict[str, tuple[Json, Json]]:
    """Return the settings of an optimizer that differ from the checkpoint, as (saved value, current
    value) by name.

    Args:
        number: index of the optimizer in the checkpoint.
        now: current settings, as `settings_of` returns them for the first parameter group (the
            second one, for vectors, has a weight decay of its own).
    """
    saved = checkpoint.get("optimizers", [])
    if number < len(saved):
        before = saved[number]["settings"]
    else:  # of an earlier release
        groups = saved_groups(checkpoint)
        before = settings_of(groups[number][0]) if number < len(groups) else {}
    return {
        n: (before[n], v)
        for n, v in now.items()
        if n in before and is_plain(v) and plain(before[n]) != v
    }


def in_words(changed: Changes) -> str:
    """Return changed settings as text: "lr from 0.1 to 0.2, eps from 1e-08 to 1e-06"."""
    return ", ".join(f"{name} from {before} to {now}" for name, (before, now) in changed.items())


# Before a run directory is touched


def trial_optimizer(optimizer_of: OptimizerCallable) -> Optimizer:
    """Return an optimizer of a small matrix and a small vector, in groups as for a task, to try
    settings.

    Args:
        optimizer_of: function that builds the optimizer from parameter groups.

    Raises:
        ValueError: a setting is out of range.
    """
    matrix, vector = (nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,)))
    return optimizer_of([{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}])


def shapes_in_order(module: nn.Module) -> list[torch.Size]:
    """Return the shapes of the trained parameters, in the order in which the optimizer of a task
    numbers them.
    """
    return [parameter.shape for group in decay_groups(module) for parameter in group["params"]]


def refuse_optimizer(
    checkpoint: StateDict, optimizer_of: OptimizerCallable, shapes: Sequence[Sequence[int]]
) -> None:
    """Raise an error if training cannot resume with an optimizer, since the saved state does not
    fit it.

    Args:
        optimizer_of: function that builds the optimizer from parameter groups.
        shapes: shapes of the trained parameters, in the order in which the optimizer numbers them.

    Raises:
        ValueError: the message names the saved and the current optimizer or setting.
    """
    groups = saved_groups(checkpoint)
    optimizer = trial_optimizer(optimizer_of)
    if len(groups) != 1:
        raise ValueError(
            f"the checkpoint has the states of {len(groups)} optimizers, and the model has 1: "
            "train a new run"
        )
    first = optimizer.param_groups[0]
    before = checkpoint["optimizers"][0]["class"] if checkpoint.get("optimizers") else ""
    foreign = [name for name in groups[0][0] if name not in first and name not in NOT_SETTINGS]
    if (before and before != name_of(optimizer)) or (not before and foreign):
        was = before.rpartition(".")[2] or f"one with {', '.join(foreign)}"
        raise ValueError(
            f"model.optimizer={type(optimizer).__name__} cannot resume from the state of another "
            f"optimizer ({was}): restore that one, or train a new run"
        )
    if (n := sum(len(group["params"]) for group in groups[0])) != len(shapes):
        raise ValueError(
            f"the checkpoint's optimizer trains {n} tensors of the model, and {len(shapes)} are "
            "trained now: train a new run"
        )
    _check_shapes(checkpoint, shapes)
    if any("lr_lambdas" not in state for state in checkpoint.get("lr_schedulers", [])):
        raise ValueError(
            "the checkpoint's learning-rate schedule is of another class than model.schedule: "
            "train a new run"
        )
    if changed := changed_settings(checkpoint, 0, settings_of(first)):
        _try_changes(optimizer_of, groups[0], changed)


def _check_shapes(checkpoint: StateDict, shapes: Sequence[Sequence[int]]) -> None:
    """Raise ValueError if a saved mean of gradients has another shape than its parameter: fused
    optimizers would write beyond its end.
    """
    for saved in checkpoint.get("optimizer_states", []):
        for number, state in saved.get("state", {}).items():
            for name, value in state.items():
                if name in LIKE_PARAMETER and tuple(value.shape) != tuple(shapes[number]):
                    raise ValueError(
                        f"the checkpoint's optimizer has {name} of shape {tuple(value.shape)} for "
                        f"parameter {number}, which is {tuple(shapes[number])} now: the code of "
                        "the model has changed; use the code that trained the run, or train a new "
                        "run"
                    )


def _try_changes(
    optimizer_of: OptimizerCallable, groups: list[JsonObject], changed: Changes
) -> None:
    """Check that an optimizer can continue with changed settings, on a small model: take one step
    with the saved settings, then one with the current settings.

    Args:
        optimizer_of: function that builds the optimizer from parameter groups.
        groups: saved parameter groups.
        changed: changed settings.

    Raises:
        ValueError: the second step needs a state that the first step does not keep.
    """
    first = trial_optimizer(optimizer_of)
    second = trial_optimizer(optimizer_of)
    for group in first.param_groups:
        group |= {
            name: value
            for name, value in groups[0].items()
            if name in group and name not in NOT_SETTINGS and is_plain(plain(value))
        }
    configured = [dict(group) for group in second.param_groups]
    _step(first)
    second.load_state_dict(first.state_dict())
    for group, present in zip(second.param_groups, configured, strict=True):
        group |= {name: present[name] for name in changed}
    try:
        _step(second)
    except Exception as error:
        raise ValueError(
            f"model.optimizer: {in_words(changed)} cannot change when training resumes, since the "
            f"saved state lacks {' '.join(str(error).split())}: restore it, or train a new run"
        ) from None


def _step(optimizer: Optimizer) -> None:
    """Take an optimizer step with all gradients equal to 1."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


# When training goes on


class ChangedSettings(Callback):
    """Callback that applies the optimizer settings of the config when training resumes. Lightning
    alone would restore the settings of the checkpoint.

    The learning rate of the next step then follows the current schedule. Without a change nothing
    is modified.
    """

    def __init__(self) -> None:
        self._configured: list[list[JsonObject]] = []
        self._checkpoint: StateDict = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the optimizer settings of the config, before Lightning restores the states of
        optimizers.
        """
        self._configured = [
            [settings_of(group) for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: StateDict
    ) -> None:
        if trainer.state.fn == "fit":
            keep_patience(trainer, checkpoint.get("callbacks", {}))
            groups = [[dict(group) for group in groups] for groups in saved_groups(checkpoint)]
            self._checkpoint = {
                name: checkpoint.get(name, []) for name in ("optimizers", "schedules")
            } | {GROUPS: groups}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._checkpoint:
            return
        self._refuse_other_classes(trainer)
        all_changed: dict[str, tuple[Json, Json]] = {}
        for i, (optimizer, configured) in enumerate(
            zip(trainer.optimizers, self._configured, strict=True)
        ):
            changed = changed_settings(self._checkpoint, i, configured[0]) if configured else {}
            all_changed |= changed
            for group, present in zip(optimizer.param_groups, configured, strict=True):
                apply_settings(group, {name: present[name] for name in changed})
        for config in trainer.lr_scheduler_configs:
            follow_settings(config.scheduler)
        self._checkpoint = {}
        if all_changed and trainer.is_global_zero:
            print(
                f"model.optimizer, from step {trainer.global_step} on: {in_words(all_changed)}",
                flush=True,
            )

    def _refuse_other_classes(self, trainer: Trainer) -> None:
        """Raise an error if Lightning has loaded states into optimizers or schedules of another
        class. This covers tasks with their own `configure_optimizers`.

        Raises:
            ValueError: the message names the saved and the current classes.
        """
        before = [record["class"] for record in self._checkpoint["optimizers"]] + self._checkpoint[
            "schedules"
        ]
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        now = [*map(name_of, trainer.optimizers), *map(name_of, schedules)]
        if before and before != now:
            raise ValueError(
                f"the checkpoint has states of {', '.join(before)}, and this training uses "
                f"{', '.join(now)}: restore the former, or train a new run"
            )


def keep_patience(trainer: Trainer, states: Mapping[str, StateDict]) -> None:
    """Write the `patience` of early-stopping callbacks in the config into their saved states, in
    place, before Lightning restores these states.

    Args:
        states: saved states of callbacks by state key.
    """
    for callback in callbacks_of(trainer, EarlyStopping):
        state = states.get(callback.state_key, {})
        if state and state["patience"] != callback.patience:
            if trainer.is_global_zero:
                change = f"patience from {state['patience']} to {callback.patience}"
                print(f"{type(callback).__name__} of {callback.monitor}: {change}", flush=True)
            state["patience"] = callback.patience


def apply_settings(group: JsonObject, settings: Settings) -> None:
    """Change settings of a parameter group in place. A new `lr` is the rate without the schedule's
    factor; the current factor is kept.
    """
    before = settings_of(group).get("lr")
    for name, value in settings.items():
        if name == "lr" and "initial_lr" in group:
            set_rate(group, group["lr"] * (value / before) if before else value)
            group["initial_lr"] = value
        elif name == "lr":
            set_rate(group, value)
        else:
            group[name] = value


def set_rate(group: JsonObject, value: float | torch.Tensor) -> None:
    """Change the learning rate of a parameter group in place. A rate that is a tensor is filled,
    since a compiled step reads it.
    """
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


def follow_settings(scheduler: LRScheduler) -> None:
    """Make a restored schedule use the `initial_lr` of its optimizer, and set the learning rate of
    the next step to match.
    """
    groups = scheduler.optimizer.param_groups
    if not hasattr(scheduler, "base_lrs") or not all("initial_lr" in group for group in groups):
        return
    scheduler.base_lrs = [group["initial_lr"] for group in groups]
    if isinstance(scheduler, LambdaLR):
        for group, base, factor in zip(
            groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            set_rate(group, base * factor(scheduler.last_epoch))
        scheduler._last_lr = [group["lr"] for group in groups]
