"""Metrics that callbacks of the Trainer monitor, looked for before a run begins."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from lslm_lightning.training.data import TaskData
from lslm_lightning.training.progress import CURVE
from lslm_lightning.training.task import Task

OUR_PACKAGES = ("lslm_lightning", "tasks", "lightning", "pytorch_lightning", "torch", "builtins", "abc")
RATE_PREFIX = "lr-"  # how names begin that a LearningRateMonitor makes from the optimizer's


def check_monitors(
    callbacks: Sequence[Any],
    task: Task,
    data: TaskData,
    trainer: Mapping[str, Any],
) -> None:
    """Refuse callbacks that monitor a metric which nothing in a training logs.

    Classes of the user's may log metrics of their own. Where there are any, only the usual slip
    `val_loss` for `val/loss` is refused.

    Args:
        trainer: settings of the Trainer.

    Raises:
        ValueError: it names the setting and the metrics that exist.
    """
    monitors = {callback: getattr(callback, "monitor", None) for callback in callbacks}
    if not any(isinstance(monitor, str) for monitor in monitors.values()):
        return
    known = metrics_of_training(task, data, trainer)
    is_open = any(map(is_user_class, [type(task), type(data), *map(type, callbacks)]))
    has_rates = any(isinstance(callback, LearningRateMonitor) for callback in callbacks)
    for callback, monitor in monitors.items():
        own = ("epoch", "step") if isinstance(callback, ModelCheckpoint) else ()
        is_known = monitor in (*known, *own) or not isinstance(monitor, str)
        if is_known or (has_rates and monitor.startswith(RATE_PREFIX)):
            continue
        setting = f"trainer.callbacks: {type(callback).__name__} monitors {monitor}"
        if (meant := monitor.replace("_", "/", 1)) in known:
            raise ValueError(f"{setting}, which is called {meant} here")
        is_optional = isinstance(callback, EarlyStopping) and not callback.strict
        if not (is_open or is_optional):
            near = get_close_matches(monitor, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            absent = why_absent(monitor, task, data, trainer)
            there = f"; there are {', '.join(known)}" if known else ""
            raise ValueError(f"{setting}, which nothing logs{hint}{absent}{there}")


def metrics_of_training(task: Task, data: TaskData, trainer: Mapping[str, Any]) -> list[str]:
    """Return the names of metrics that callbacks can monitor in a training."""
    of_validation = task.validation_metrics(data) if trainer["limit_val_batches"] != 0 else []
    return [*of_validation, *([] if task.one_pass else CURVE)]


def is_user_class(kind: type) -> bool:
    """Whether a class, or one that it inherits from, is neither of this project nor of Lightning."""
    return any(base.__module__.partition(".")[0] not in OUR_PACKAGES for base in kind.__mro__)


def why_absent(monitor: str, task: Task, data: TaskData, trainer: Mapping[str, Any]) -> str:
    """Return the setting that leaves a metric of validation out, in words; "" where none does."""
    if not monitor.startswith("val/"):
        return ""
    if trainer["limit_val_batches"] == 0:
        return ": trainer.limit_val_batches=0 turns validation off"
    answered = {f"val/{metric.name}" for metric in task.metrics("en")}
    if monitor in answered and not data.n_validation_example:
        return ": data.n_validation_example=0 leaves validation no examples to answer"
    return ""
