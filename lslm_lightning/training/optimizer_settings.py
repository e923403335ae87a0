"""Settings of optimizers and stops when training goes on from a checkpoint: changed ones are
applied, or refused by name.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lslm_lightning.optim import Cosine
from lslm_lightning.training.sharding import GROUPS
from lslm_lightning.types import Json, JsonObject

NOT_SETTINGS = ("params", "initial_lr")


class OptimizerSpec(dict[str, Json]):
    """An optimizer's class and arguments as a config writes them, callable to build it."""

    def __call__(self, parameters: Iterable[nn.Parameter] | Iterable[JsonObject]) -> Optimizer:
        """Return the optimizer of these parameters or parameter groups."""
        module, _, name = self["class_path"].rpartition(".")
        build: Callable[..., Optimizer] = getattr(import_module(module), name)
        return build(parameters, **self["init_args"])


# what tasks train with where nothing else is set
ADAMW = OptimizerSpec(
    class_path="torch.optim.AdamW", init_args={"lr": 1e-3, "weight_decay": 0.01, "fused": True}
)
COSINE = Cosine(warmup_steps=200)


def recorded(optimizer: Optimizer) -> dict[str, Any]:
    """The class of an optimizer and the settings it was built with, as plain data for a
    checkpoint.
    """
    settings = {name: plain(value) for name, value in optimizer.defaults.items()}
    return {
        "class": name_of(optimizer),
        "settings": {n: v for n, v in settings.items() if is_plain(v)},
    }


def name_of(built: Optimizer | LRScheduler) -> str:
    """Import path of the class of an optimizer or a schedule."""
    return f"{type(built).__module__}.{type(built).__qualname__}"


def plain(value: Any) -> Any:
    """A number for a tensor that is one, a tuple for a list."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta:
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def is_plain(value: Any) -> bool:
    """Whether a setting can be read back from a checkpoint that may hold data alone."""
    if isinstance(value, tuple):
        return all(is_plain(each) for each in value)
    return value is None or isinstance(value, int | float | str)


def settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a parameter group; `lr` is that before any schedule."""
    found = {name: plain(value) for name, value in group.items() if name not in NOT_SETTINGS}
    if "initial_lr" in group:
        found["lr"] = plain(group["initial_lr"])
    return found


def saved_groups(checkpoint: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Parameter groups of each optimizer of a checkpoint, of one file or of a folder."""
    of_files = [
        state["param_groups"]
        for state in checkpoint.get("optimizer_states", [])
        if "param_groups" in state
    ]
    return of_files or checkpoint.get(GROUPS, [])


def changed_settings(
    checkpoint: Mapping[str, Any], number: int, now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """What optimizer `number` was set to when the checkpoint was saved and is set to now, by name,
    where the two differ.

    Args:
        now: `settings_of` the first group, whose settings no group overrides (vectors have a weight
            decay of their own).
    """
    records = checkpoint.get("optimizers", [])
    if number < len(records):
        before = records[number]["settings"]
    else:  # of an earlier release
        groups = saved_groups(checkpoint)
        before = settings_of(groups[number][0]) if number < len(groups) else {}
    return {
        n: (before[n], v)
        for n, v in now.items()
        if n in before and is_plain(v) and plain(before[n]) != v
    }


def in_words(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Changed settings, as they were and as they are."""
    return ", ".join(f"{name} from {before} to {now}" for name, (before, now) in changed.items())


# Before a run directory is touched


def trial_optimizer(optimizer_of: Callable[[Any], Optimizer]) -> Optimizer:
    """The optimizer of a matrix and a vector, grouped as those of a task are.

    Raises:
        ValueError: a setting is out of range.
    """
    matrix, vector = (nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,)))
    return optimizer_of([{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}])


def refuse_optimizer(
    checkpoint: Mapping[str, Any], optimizer_of: Callable[[Any], Optimizer], n_trained: int
) -> None:
    """Refuse to go on with an optimizer that the saved state does not fit.

    Args:
        n_trained: number of the model's parameters (tensors) that are trained.

    Raises:
        ValueError: the message names what was saved and what is set.
    """
    groups = saved_groups(checkpoint)
    optimizer = trial_optimizer(optimizer_of)
    if len(groups) != 1:
        raise ValueError(
            f"the checkpoint has the states of {len(groups)} optimizers, and the model has 1: "
            "train a new run"
        )
    own = optimizer.param_groups[0]
    before = checkpoint["optimizers"][0]["class"] if checkpoint.get("optimizers") else ""
    foreign = [name for name in groups[0][0] if name not in own and name not in NOT_SETTINGS]
    if (before and before != name_of(optimizer)) or (not before and foreign):
        was = before.rpartition(".")[2] or f"one with {', '.join(foreign)}"
        raise ValueError(
            f"model.optimizer={type(optimizer).__name__} cannot go on from the state of another "
            f"optimizer ({was}):"
            " put that one back, or train a new run"
        )
    if (n := sum(len(group["params"]) for group in groups[0])) != n_trained:
        raise ValueError(
            f"the checkpoint's optimizer trains {n} weights of the model, and {n_trained} are to "
            "be trained now: train a new run"
        )
    if any("lr_lambdas" not in state for state in checkpoint.get("lr_schedulers", [])):
        raise ValueError(
            "the checkpoint's learning-rate schedule is of another class than model.schedule: "
            "train a new run"
        )
    if changed := changed_settings(checkpoint, 0, settings_of(own)):
        _rehearse(optimizer_of, groups[0], changed)


def _rehearse(
    optimizer_of: Callable[[Any], Optimizer],
    groups: list[dict[str, Any]],
    changed: Mapping[str, tuple[Any, Any]],
) -> None:
    """Take one step with the settings of before and one with those of now; refuse where the second
    lacks something that the first left.
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
    for group, own in zip(second.param_groups, configured, strict=True):
        group |= {name: own[name] for name in changed}
    try:
        _step(second)
    except Exception as error:
        raise ValueError(
            f"model.optimizer: {in_words(changed)} cannot change when training goes on, for the "
            "saved state lacks"
            f" {' '.join(str(error).split())}: put it back, or train a new run"
        ) from None


def _step(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


# When training goes on


class ChangedSettings(Callback):
    """Applies the optimizer's settings of the config where those of the checkpoint, which Lightning
    restores, are others.

    The learning rate of the next step is that of the present schedule. Where nothing changed,
    nothing is touched.
    """

    def __init__(self) -> None:
        self._configured: list[list[dict[str, Any]]] = []
        self._checkpoint: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, *args: Any) -> None:
        """The optimizers are built, and their states not restored yet."""
        self._configured = [
            [settings_of(group) for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_load_checkpoint(self, trainer: Trainer, task: Any, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":
            keep_patience(trainer, checkpoint.get("callbacks", {}))
            groups = [[dict(group) for group in groups] for groups in saved_groups(checkpoint)]
            self._checkpoint = {
                name: checkpoint.get(name, []) for name in ("optimizers", "schedules")
            } | {GROUPS: groups}

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        if not self._checkpoint:
            return
        self._refuse_other_classes(trainer)
        said = {}
        for i, (optimizer, configured) in enumerate(
            zip(trainer.optimizers, self._configured, strict=True)
        ):
            changed = changed_settings(self._checkpoint, i, configured[0]) if configured else {}
            said |= changed
            for group, own in zip(optimizer.param_groups, configured, strict=True):
                apply_settings(group, {name: own[name] for name in changed})
        for config in trainer.lr_scheduler_configs:
            follow_settings(config.scheduler)
        self._checkpoint = {}
        if said and trainer.is_global_zero:
            print(
                f"model.optimizer, from step {trainer.global_step} on: {in_words(said)}", flush=True
            )

    def _refuse_other_classes(self, trainer: Trainer) -> None:
        """Refuse, also for a task with a `configure_optimizers` of its own, states that were loaded
        into objects of another class.
        """
        before = [record["class"] for record in self._checkpoint["optimizers"]] + self._checkpoint[
            "schedules"
        ]
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        now = [name_of(built) for built in (*trainer.optimizers, *schedules)]
        if before and before != now:
            raise ValueError(
                f"the checkpoint is of {', '.join(before)}, and this training of "
                f"{', '.join(now)}: put back what was, or train a new run"
            )


def keep_patience(trainer: Trainer, states: Mapping[str, dict[str, Any]]) -> None:
    """Let a stop keep the patience that the config gives it, which its state, before Lightning
    restores that, has too.
    """
    for callback in trainer.callbacks:
        state = states.get(callback.state_key, {}) if isinstance(callback, EarlyStopping) else {}
        if state and state["patience"] != callback.patience:
            if trainer.is_global_zero:
                words = f"patience from {state['patience']} to {callback.patience}"
                print(f"{type(callback).__name__} of {callback.monitor}: {words}", flush=True)
            state["patience"] = callback.patience


def apply_settings(group: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Change a parameter group; a new `lr` is that before any schedule, whose present factor is
    kept.
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


def set_rate(group: dict[str, Any], value: Any) -> None:
    """Change a learning rate, which may be a tensor that a compiled step reads."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


def follow_settings(scheduler: LRScheduler) -> None:
    """Let a restored schedule begin from its optimizer's `initial_lr`, and compute the rate of the
    next step by its present functions.
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
