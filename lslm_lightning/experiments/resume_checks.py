"""Checks that a run can be resumed with the current settings."""

from lightning.pytorch import Trainer

from lslm_lightning.configuration.job import Job
from lslm_lightning.runs.config import differing
from lslm_lightning.runs.resume_state import ResumeState
from lslm_lightning.runs.weights import check_tensors, fitting_weights, load_files, plain_weights
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.optimizer_settings import (
    refuse_optimizer,
    shapes_in_order,
    trial_optimizer,
)
from lslm_lightning.training.task import Task
from lslm_lightning.training.training_state import refuse_changed, refuse_changes
from lslm_lightning.types import Settings

FIXED_AT_START = {  # settings of a job that only a new run uses
    "name": "it keeps its directory; leave it out, or rename the directory",
    "root": "it keeps its directory; leave it out, or move the directory",
    "parent": "it keeps its MLflow run; leave it out",
    "start": "it goes on from its own weights; leave it out, or start a new run",
    "seeds": "it is of one seed; leave it out, and give lslm run --seeds for several",
}

CHANGEABLE = (".dropout", ".activation_checkpointing", ".path", ".adapter.base", ".adapter.start")
"""Ends of the names of settings that change nothing in what a trained model computes."""


def check_resumed_job(job: Job, started: Settings, max_steps: int) -> None:
    """Refuse changed settings of the `job` block that would have no effect on a resumed run.

    Args:
        started: `job` settings when the run started, from its config.yaml.
        max_steps: the setting trainer.max_steps, which overrides job.minutes.

    Raises:
        ValueError: a setting would have no effect; the message names it and the reason.
    """
    for name, why in FIXED_AT_START.items():
        now = getattr(job, name)
        before = started.get(name, getattr(Job(), name))
        if now != before:
            raise ValueError(
                f"job.{name}={now} changes nothing in a run that was started with {before}: {why}"
            )
    if job.minutes != started.get("minutes", job.minutes) and max_steps > 0:
        raise ValueError(
            f"job.minutes={job.minutes:g} changes nothing: this run trains "
            f"trainer.max_steps={max_steps} steps; set a larger trainer.max_steps"
        )


def check_resumable(
    state: ResumeState, data: TaskData, task: Task, tried: Trainer, world: int
) -> None:
    """Refuse to resume from a checkpoint that is damaged or does not fit the current settings.

    Args:
        state: checkpoint to resume from.
        tried: Trainer from `tried_trainer`.
        world: number of processes that share the data.

    Raises:
        ValueError: the checkpoint is damaged, or is already past the end of training, or a setting
            that determines its batches or its optimizer has changed.
    """
    state.check_intact()
    saved = state.header
    accumulate = tried.accumulate_grad_batches
    identity = task.training_state.identity(data)
    refuse_changes(saved, identity, world, accumulate, tried.limit_train_batches)
    if 0 < tried.max_steps < state.step:
        raise ValueError(
            f"trainer.max_steps={tried.max_steps}, but {state.path} has done {state.step} steps "
            "already: set at least as many"
        )
    if 0 < (tried.max_epochs or -1) < state.epoch:
        raise ValueError(
            f"trainer.max_epochs={tried.max_epochs}, but {state.path} has finished {state.epoch} "
            "epochs already: set at least as many"
        )
    if type(task).configure_optimizers is Task.configure_optimizers and "lr_schedulers" in saved:
        refuse_optimizer(
            saved,
            task.optimizer_of,
            shapes_in_order(task),
        )


def check_weights(state: ResumeState, task: Task) -> None:
    """Refuse a checkpoint whose weights do not fit the model, before they are read.

    The weights of a folder are checked when they are read.

    Raises:
        ValueError: the checkpoint contains more than data, or belongs to another model or
            vocabulary.
    """
    with plain_weights(state.path):
        header = state.header
        if "state_dict" not in header:
            return
        check_tensors(header["state_dict"], have_values=False)
    fitting_weights(task, header, state.path, task.tokenizer)
    load_files(task, header, state.path)


def check_optimizer(task: Task) -> None:
    """Check that the task's optimizer can be built from its settings.

    Raises:
        ValueError: the message is that of the optimizer.
    """
    if task.backbone is None or type(task).configure_optimizers is not Task.configure_optimizers:
        return
    try:
        trial_optimizer(task.optimizer_of)
    except (ValueError, TypeError) as error:
        raise ValueError(f"model.optimizer: {' '.join(str(error).split())}") from None


def check_same_function(task: Task, trained: Settings, now: Settings) -> None:
    """Refuse changed settings of the model with which the weights of a checkpoint would compute
    something else than in the run that trained them.

    Settings in `CHANGEABLE` and those in `changeable` of the task's classes may change.

    Args:
        trained: configuration of the run that the checkpoint belongs to; empty if there is none.
        now: current configuration.

    Raises:
        ValueError: a setting differs; the message names it, both values and a way out.
    """
    may_change = {name for base in type(task).__mro__ for name in vars(base).get("changeable", ())}
    before, after = (
        {
            name: value
            for name, value in ((config.get("model") or {}).get("init_args") or {}).items()
            if name not in may_change
        }
        for config in (trained, now)
    )
    changed = [
        f"{name} ({then} then, {value} now)"
        for name, then, value in differing(before, after, "model")
        if not name.endswith(CHANGEABLE)
    ]
    refuse_changed(changed)


def validates_alike(before: Settings, now: Settings) -> bool:
    """Return whether two configurations validate in the same way, so that their validation scores
    are comparable.

    The data, the model architecture and the validation limits are compared. Settings that exist in
    only one of the two, such as those of another release, are ignored.

    Args:
        before: configuration of the earlier run.
        now: current configuration.
    """
    for name, left_out in (
        ("data", {"tokenizer", "num_workers"}),
        ("model", {"optimizer", "schedule", "label_smoothing"}),
    ):
        one, two = (config.get(name) or {} for config in (before, now))
        settings = [config.get("init_args") or {} for config in (one, two)]
        shared = (settings[0].keys() & settings[1].keys()) - left_out
        if one.get("class_path") != two.get("class_path") or any(
            settings[0][key] != settings[1][key] for key in shared
        ):
            return False
    limits = [config.get("trainer") or {} for config in (before, now)]
    return all(
        limits[0].get(key) == limits[1].get(key) for key in ("limit_val_batches", "overfit_batches")
    )
