"""Checks of Lightning Trainer settings."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    OnExceptionCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    PassThroughProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from lslm_lightning.configuration.subcommands import TRAINING, needed_loaders
from lslm_lightning.runs.trust import resolve
from lslm_lightning.types import Json

MEAN = (
    "keeps a mean of weights that no checkpoint has: set job.average to the number of validated "
    "states whose weights are to be averaged after training"
)
REFUSED: dict[type, str] = {
    StochasticWeightAveraging: MEAN,
    WeightAveraging: MEAN,
    GradientAccumulationScheduler: (
        "changes while training how many batches make a step, on which the learning-rate schedule "
        "and a resumed run rely: set trainer.accumulate_grad_batches"
    ),
    BatchSizeFinder: (
        "trains with another batch size than config.yaml says: find one with lslm "
        "plan, and set it in data"
    ),
    LearningRateFinder: (
        "trains with another learning rate than config.yaml says: set model.optimizer.lr"
    ),
    ModelPruning: (
        "changes which weights the model has, so that its checkpoints are of another "
        "model: leave it out"
    ),
    BaseFinetuning: (
        "changes while training which parameters the optimizer has, so that no run "
        "can be resumed: leave it out"
    ),
    OnExceptionCheckpoint: (
        "is not needed, and its file would be taken for the state to go on "
        "from: last.ckpt is kept, lslm resume uses it"
    ),
}


class SettingRule(NamedTuple):
    """Rule that refuses the setting `name` if `is_wrong` returns True for its value; `why` is the
    reason.
    """

    name: str
    is_wrong: Callable[[Json], bool]
    why: str


RULES = (
    SettingRule(
        "barebones", bool, "turns off checkpoints and logging, which a run is made of; leave it out"
    ),
    SettingRule(
        "enable_checkpointing",
        lambda value: value is False,
        "a run keeps its checkpoints; leave it out (job.keep_last: 1 keeps fewest)",
    ),
    SettingRule(
        "default_root_dir", lambda value: value is not None, "runs are kept in job.root; set that"
    ),
    SettingRule(
        "logger",
        lambda value: value is True,
        "metrics.jsonl and MLflow have all metrics already; name a logger, or leave it out",
    ),
    SettingRule(
        "use_distributed_sampler",
        bool,
        "the data share themselves out among processes; leave it out",
    ),
    SettingRule(
        "model_registry",
        lambda value: value is not None,
        "checkpoints are kept in the run directory and in MLflow; leave it out",
    ),
    SettingRule("accumulate_grad_batches", lambda value: value < 1, "must be at least 1 batch"),
    SettingRule(
        "overfit_batches",
        lambda value: value < 0 or (isinstance(value, float) and value > 1),
        "must be a whole number of batches, or a share from 0.0 to 1.0",
    ),
    SettingRule(
        "val_check_interval",
        lambda value: value == 0,
        "must be more than 0; trainer.limit_val_batches=0 turns validation off",
    ),
    SettingRule(
        "check_val_every_n_epoch",
        lambda value: value is not None and value < 1,
        "must be at least 1 epoch, or null",
    ),
    SettingRule(
        "num_sanity_val_steps",
        lambda value: value is not None and value < -1,
        "must be at least 0, or -1 for all batches",
    ),
    SettingRule(
        "gradient_clip_val",
        lambda value: value is not None and not value >= 0,
        "must be at least 0, which clips nothing",
    ),
    SettingRule(
        "profiler",
        lambda value: isinstance(value, str) and value not in PROFILERS,
        "is none of simple, advanced and pytorch",
    ),
    SettingRule(
        "log_every_n_steps",
        lambda value: value is not None and value < 0,
        "must be at least 0, which logs no training curve",
    ),
)


def check_trainer(command: str, trainer: Namespace, one_pass: bool = False) -> None:
    """Refuse Trainer settings that are useless in a run, contradict each other, or would fail
    later.

    Args:
        command: subcommand.
        one_pass: whether the task reads its training texts only once, in order.

    Raises:
        ValueError: the message names the setting, the reason and a way out.
    """
    for rule in RULES:
        if rule.is_wrong(trainer[rule.name]):
            raise ValueError(f"trainer.{rule.name}={trainer[rule.name]}: {rule.why}")
    check_callbacks(trainer)
    check_plugins(trainer)
    check_limits(command, trainer)
    if command in TRAINING:
        _check_steps_and_epochs(trainer)
        _check_overfit(trainer)
    if command in TRAINING and one_pass:
        for name in ("limit_train_batches", "overfit_batches"):
            if trainer[name] not in (None, 0, 1.0) or trainer[name] is True:
                raise ValueError(
                    f"trainer.{name}={trainer[name]}: this model reads all of its texts once; "
                    "leave it out"
                )


def check_callbacks(trainer: Namespace) -> None:
    """Refuse callbacks that are useless in a run or conflict with other settings.

    Raises:
        ValueError: the message names the class, the reason and a way out.
    """
    for kind in classes_of(trainer.callbacks):
        for refused, why in REFUSED.items():
            if issubclass(kind, refused):
                raise ValueError(f"trainer.callbacks: {kind.__name__} {why}")
        if issubclass(kind, ProgressBar) and trainer.enable_progress_bar is False:
            raise ValueError(
                f"trainer.enable_progress_bar=False and {kind.__name__} among trainer.callbacks "
                "contradict each other: leave one out"
            )
        if issubclass(kind, Timer) and trainer.max_time is not None:
            raise ValueError(
                f"trainer.max_time={trainer.max_time} and {kind.__name__} among "
                "trainer.callbacks both limit the time, and only the callback would count: leave "
                "one out"
            )


def check_limits(command: str, trainer: Namespace) -> None:
    """Refuse batch limits that leave a command nothing to do.

    Raises:
        ValueError: the message names the setting.
    """
    verbs = {"train": "train on", "val": "validate on", "test": "test", "predict": "predict"}
    for name in needed_loaders(command):
        if trainer[f"limit_{name}_batches"] == 0:
            instead = "use lslm fit, or" if (command, name) == ("run", "test") else "set"
            raise ValueError(
                f"trainer.limit_{name}_batches=0 leaves lslm {command} nothing to {verbs[name]}; "
                f"{instead} at least 1 batch"
            )


def check_plugins(trainer: Namespace) -> None:
    """Refuse Trainer plugins that are useless in a run or conflict with other settings.

    Raises:
        ValueError: the message names both settings and a way out.
    """
    kinds = classes_of(trainer.plugins)
    for role in (Precision, ClusterEnvironment, LayerSync):
        found = [kind.__name__ for kind in kinds if issubclass(kind, role)]
        if len(found) > 1:
            raise ValueError(
                f"trainer.plugins: {' and '.join(found)} do the same: leave all but one out"
            )
        if found and role is Precision and trainer.precision is not None:
            raise ValueError(
                f"trainer.precision={trainer.precision} and {found[0]} among trainer.plugins "
                "both choose"
                " the precision: leave the plugin out, or set trainer.precision=null"
            )
    for kind in kinds:
        if issubclass(kind, CheckpointIO):
            raise ValueError(
                f"trainer.plugins: {kind.__name__} writes checkpoints another way than a run, "
                "which must read them: leave it out"
            )
        if not issubclass(kind, Precision | ClusterEnvironment | LayerSync | str | None):
            raise ValueError(
                f"trainer.plugins: {kind.__name__} is no plugin of a Trainer; leave it out, or "
                "name a class of lightning.pytorch.plugins"
            )


def _check_steps_and_epochs(trainer: Namespace) -> None:
    """Refuse limits of steps and epochs that train nothing or contradict each other."""
    for name in ("max_steps", "max_epochs"):
        if trainer[name] == 0:
            raise ValueError(f"trainer.{name}=0 trains nothing; set at least 1, or -1 for no limit")
    for unit in ("steps", "epochs"):
        least = trainer[f"min_{unit}"]
        most = trainer[f"max_{unit}"]
        if least is not None and most is not None and 0 < most < least:
            raise ValueError(
                f"trainer.min_{unit}={least} is more than trainer.max_{unit}={most}, which ends "
                "the training: lower it"
            )


def _check_overfit(trainer: Namespace) -> None:
    """Refuse batch limits together with `overfit_batches`, which sets them itself."""
    if trainer.overfit_batches:
        for name in ("limit_train_batches", "limit_val_batches"):
            if trainer[name] is not None:
                raise ValueError(
                    f"trainer.overfit_batches={trainer.overfit_batches} sets trainer.{name}, "
                    f"which is {trainer[name]}: leave one out"
                )


def classes_of(given: object) -> list[type]:
    """Return the classes in the value of a Trainer setting; unknown import paths are left out.

    Args:
        given: value of the setting: an object, a spec with `class_path`, an import path, or a list
            of these.
    """
    found = []
    for item in given if isinstance(given, list | tuple) else [given]:
        path = item.get("class_path") if isinstance(item, dict | Namespace) else item
        try:
            kind = resolve(path) if isinstance(path, str) and "." in path else type(item)
        except ValueError:
            continue
        found += [kind] if isinstance(kind, type) else []
    return found


PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


class NoProfiler(PassThroughProfiler):
    """Lightning's profiler that measures nothing, without making a context manager for each of the
    some seventy hooks of a step.
    """

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self.nothing


def profiler_of(given: Profiler | str | None, directory: Path) -> Profiler:
    """Return the profiler with the given name, writing to the run directory; a profiler unchanged;
    for None one that measures nothing.

    It writes to a file because Lightning's log, where it would print otherwise, is silenced.
    """
    if isinstance(given, str):
        return PROFILERS[given](dirpath=str(directory), filename="profile")
    return given or NoProfiler()
