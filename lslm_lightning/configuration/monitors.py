"""Checks that the metrics monitored by callbacks are logged."""

from collections.abc import Sequence
from difflib import get_close_matches

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from lslm_lightning.configuration.lightning_cli_internals import checks_at_epoch_end
from lslm_lightning.configuration.trainer_batches import n_train_batch
from lslm_lightning.data.batching import limited
from lslm_lightning.task_package import NAMES
from lslm_lightning.training.callbacks.curve import CURVE
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task
from lslm_lightning.types import Settings

OUR_PACKAGES = (
    "lslm_lightning",
    *NAMES,
    "lightning",
    "pytorch_lightning",
    "torch",
    "builtins",
    "abc",
    "typing",
)
RATE_PREFIX = "lr-"  # how names begin that a LearningRateMonitor makes from the optimizer's


def check_monitors(
    callbacks: Sequence[Callback],
    task: Task,
    data: TaskData,
    trainer: Settings,
    world: int = 1,
) -> None:
    """Refuse callbacks that monitor a metric which is never logged, or which is logged only after
    the callback reads it.

    User-defined classes may log other metrics. If there are any, only the common mistake `val_loss`
    for `val/loss` is refused.

    Args:
        trainer: Trainer settings, as returned by `translated`.
        world: number of processes that share the data.

    Raises:
        ValueError: the message names the setting and the metrics that exist.
    """
    monitors = {callback: getattr(callback, "monitor", None) for callback in callbacks}
    if not any(isinstance(monitor, str) for monitor in monitors.values()):
        return
    known = metrics_of_training(task, data, trainer)
    is_open = any(map(is_user_class, [type(task), type(data), *map(type, callbacks)]))
    has_rates = any(isinstance(callback, LearningRateMonitor) for callback in callbacks)
    for callback, monitor in monitors.items():
        if not isinstance(monitor, str):
            continue
        own = ("epoch", "step") if isinstance(callback, ModelCheckpoint) else ()
        is_known = monitor in (*known, *own)
        setting = f"trainer.callbacks: {type(callback).__name__} monitors {monitor}"
        if checks_at_epoch_end(callback) and monitor in known and monitor not in CURVE:
            check_comes_in_time(setting, data, trainer, world)
        if is_known or (has_rates and monitor.startswith(RATE_PREFIX)):
            continue
        if (meant := monitor.replace("_", "/", 1)) in known:
            raise ValueError(f"{setting}, which is called {meant} here")
        is_optional = isinstance(callback, EarlyStopping) and not callback.strict
        if not (is_open or is_optional):
            near = get_close_matches(monitor, known, 1)
            suggestion = f" (did you mean {near[0]}?)" if near else ""
            absent = why_absent(monitor, task, data, trainer)
            there = f"; there are {', '.join(known)}" if known else ""
            raise ValueError(f"{setting}, which nothing logs{suggestion}{absent}{there}")


def metrics_of_training(task: Task, data: TaskData, trainer: Settings) -> list[str]:
    """Return the names of the metrics that a training logs and callbacks can monitor.

    Args:
        trainer: Trainer settings, as returned by `translated`.
    """
    of_validation = task.validation.names(data) if trainer["limit_val_batches"] != 0 else []
    return [*of_validation, *([] if task.one_pass else CURVE)]


def check_comes_in_time(setting: str, data: TaskData, trainer: Settings, world: int) -> None:
    """Refuse to monitor a validation metric at the end of each epoch if the first epoch ends before
    the first validation.

    Args:
        setting: text that names the callback and its metric, at the start of the error message.
        trainer: Trainer settings, as returned by `translated`.
        world: number of processes that share the data.

    Raises:
        ValueError: the message says which settings to change.
    """
    every = trainer["val_check_interval"]
    per_epoch = trainer["check_val_every_n_epoch"]
    n_batch = n_train_batch(data, world, trainer["accumulate_grad_batches"])
    if n_batch is None:  # there is no end of an epoch
        return
    n_batch = limited(n_batch, trainer["limit_train_batches"])
    is_late = isinstance(every, int) and every > n_batch
    if is_late or (per_epoch or 1) > 1:
        first = (
            f"trainer.val_check_interval={every}"
            if is_late
            else f"trainer.check_val_every_n_epoch={per_epoch}"
        )
        raise ValueError(
            f"{setting} at the end of each epoch, which has {n_batch} batches, and {first} "
            "validates later than the"
            " first: leave check_on_train_epoch_end and save_on_train_epoch_end out"
        )


def is_user_class(kind: type) -> bool:
    """Return whether a class or one of its bases is defined outside of this project and
    Lightning.
    """
    return any(base.__module__.partition(".")[0] not in OUR_PACKAGES for base in kind.__mro__)


def why_absent(monitor: str, task: Task, data: TaskData, trainer: Settings) -> str:
    """Return a text that says which setting disables a validation metric; "" if no setting does.

    Args:
        monitor: name of the metric.
        trainer: Trainer settings, as returned by `translated`.
    """
    if not monitor.startswith("val/"):
        return ""
    if trainer["limit_val_batches"] == 0:
        return ": trainer.limit_val_batches=0 turns validation off"
    if not data.n_validation_example and monitor in task.validation.metrics(data.examples("val")):
        return ": data.n_validation_example=0 leaves validation no examples to answer"
    return ""
