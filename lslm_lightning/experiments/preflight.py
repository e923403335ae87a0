"""What is refused before a job begins."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from lslm_lightning.configuration.given_settings import no_checkpoint
from lslm_lightning.configuration.job import Job
from lslm_lightning.configuration.trainer_settings import check_trainer, translated
from lslm_lightning.evaluation.alignment import describe_pairs
from lslm_lightning.runs.directory import check_name
from lslm_lightning.runs.integrity import damage
from lslm_lightning.runs.states import META
from lslm_lightning.training.cores import available_cores
from lslm_lightning.training.data import TaskData, rank_zero_print
from lslm_lightning.training.distributed.processes import check_agreement, check_meeting
from lslm_lightning.training.optimizer_settings import refuse_optimizer, trial_optimizer
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.training.precision import AUTO, HALF, SINGLE
from lslm_lightning.training.task import Task
from lslm_lightning.training.training_state import refuse_changes

TRAINING = ("run", "fit")
BEGUN = {  # settings of a job that its beginning uses
    "name": "it keeps its directory; leave it out, or rename the directory",
    "root": "it keeps its directory; leave it out, or move the directory",
    "parent": "it keeps its MLflow run; leave it out",
    "seeds": "it is of one seed; leave it out, and give lslm run --seeds for several",
}
SPLITS = {
    "fit": ("train", "val"),
    "run": ("train", "val", "test"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}


def check_job(
    command: str, job: Job, trainer: Any, checkpoint: str | None, one_pass: bool = False
) -> str:
    """Refuse settings of the job and the Trainer that cannot work; the type of the device that they
    choose.

    Raises:
        ValueError: what, and what instead.
    """
    if job.name is not None:
        check_name(job.name, "job.name")
    for name in ("keep_last", "keep_best", "save_every_steps", "save_every_minutes"):
        if (value := getattr(job, name)) is not None and value <= 0:
            raise ValueError(f"job.{name}={value} must be more than 0")
    check_trainer(command, trainer, command in TRAINING, one_pass)
    if job.seeds < 1:
        raise ValueError(f"job.seeds={job.seeds} must be at least 1")
    if job.seeds > 1 and command != "run":
        raise ValueError(
            f"job.seeds={job.seeds} is for lslm run alone; leave --seeds out of lslm {command}, "
            "or use lslm run"
        )
    if command in TRAINING and trainer.max_steps < 1 and (trainer.max_epochs or -1) < 0:
        if not job.minutes:
            clock = (
                ""
                if trainer.max_time is None
                else f" (trainer.max_time={trainer.max_time} stops a training, and plans none)"
            )
            raise ValueError(
                "nothing says how long to train: set trainer.max_steps, trainer.max_epochs or "
                f"job.minutes{clock}"
            )
        if checkpoint:
            raise ValueError(
                "job.minutes with ckpt_path: the config.yaml of the earlier run says how many "
                "steps the minutes were; use it"
            )
    if job.seeds > 1 and checkpoint:
        raise ValueError(
            f"job.seeds={job.seeds} with ckpt_path: a checkpoint is of one seed, and no other "
            "can go on with its batches; leave one out"
        )
    if command not in TRAINING and not checkpoint:
        raise ValueError(no_checkpoint(command))
    if checkpoint and not Path(checkpoint).exists():
        raise FileNotFoundError(
            f"ckpt_path={checkpoint} does not exist; checkpoints lie in "
            "runs/<task>/<run>/checkpoints"
        )
    every = trainer.val_check_interval
    accumulated = trainer.accumulate_grad_batches
    if command in TRAINING and isinstance(every, int) and every % accumulated:
        raise ValueError(
            f"trainer.val_check_interval={every} counts batches and must be a multiple of "
            f"trainer.accumulate_grad_batches={accumulated},"
            " so that a validation stands between two steps; set "
            f"{-(-every // accumulated) * accumulated}"
        )
    if command in TRAINING and every is not None and not isinstance(every, int | float):
        raise ValueError(
            f"trainer.val_check_interval={every} goes by a clock, which no repeat can follow: "
            "give a number of batches"
        )
    if command in TRAINING and isinstance(every, float) and every != 1.0 and accumulated > 1:
        raise ValueError(
            f"trainer.val_check_interval={every} may stand in the middle of a step of "
            f"trainer.accumulate_grad_batches={accumulated}"
            " batches: give a number of batches that is a multiple of it"
        )
    name = strategy_name(trainer)
    if name.startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
        raise ValueError(
            f"trainer.strategy={name} starts processes that cannot share a run directory: set "
            "trainer.strategy=ddp"
        )
    method = (getattr(trainer.strategy, "init_args", None) or {}).get("start_method")
    if method not in (None, "popen"):
        raise ValueError(
            f"trainer.strategy.init_args.start_method={method} starts processes that cannot share a"
            " run directory: leave it out, which starts each by the command line"
        )
    if any(
        name.startswith(other)
        for other in (
            "fsdp_",
            "deepspeed",
            "FSDPStrategy",
            "ModelParallelStrategy",
            "DeepSpeedStrategy",
        )
    ):
        raise ValueError(
            f"trainer.strategy={name}: models are sharded by --config configs/trainer/fsdp.yaml "
            "(with FSDP2), or fsdp_tp.yaml"
        )
    if job.minutes and is_sharded(trainer) and command in TRAINING and trainer.max_steps < 1:
        raise ValueError(
            "job.minutes cannot be measured on a model in parts: set trainer.max_steps or "
            "trainer.max_epochs"
        )
    if str(trainer.precision).startswith("16"):
        raise ValueError(
            f"trainer.precision={trainer.precision} cannot hold sums of nats; use bf16-mixed"
        )
    check_meeting(trainer.num_nodes)
    if trainer.precision == AUTO:
        if is_sharded(trainer):
            raise ValueError(
                f"trainer.precision={AUTO} cannot be measured on a model in parts: set {HALF} or "
                f"{SINGLE}"
            )
        check_agreement(trainer.num_nodes)
    type_of_device = check_devices(trainer)
    n_share(trainer)
    return type_of_device


def check_job_goes_on(job: Job, begun: Mapping[str, Any], max_steps: int) -> None:
    """Refuse settings of the job that only the beginning of a run can use, where they are not as
    they were.

    Args:
        begun: settings of the job when the run began, from its config.yaml.
        max_steps: trainer.max_steps, which counts where job.minutes is given besides.

    Raises:
        ValueError: the message names the setting and a way out.
    """
    for name, why in BEGUN.items():
        now = getattr(job, name)
        before = begun.get(name, now)
        if now != before:
            raise ValueError(
                f"job.{name}={now} changes nothing of a run that was begun with {before}: {why}"
            )
    if job.minutes != begun.get("minutes", job.minutes) and max_steps > 0:
        raise ValueError(
            f"job.minutes={job.minutes:g} changes nothing: this run trains "
            f"trainer.max_steps={max_steps} steps,"
            " which count; set a larger trainer.max_steps"
        )


def check_one_process(task: str, trainer: Any) -> None:
    """Refuse more than one process for a task that reads its texts in order."""
    if (n := n_share(trainer)) > 1:
        raise ValueError(
            f"{task} reads its texts in one process, and trainer.devices and trainer.num_nodes "
            f"make {n}: set both to 1"
        )


def check_devices(trainer: Any) -> str:
    """Refuse devices that are not there; the type of those chosen: "cpu", "cuda".

    Raises:
        ValueError: with what this machine has.
    """
    chosen = {name: trainer[name] for name in ("accelerator", "devices", "num_nodes", "precision")}
    if isinstance(trainer.strategy, str) and not is_sharded(trainer):
        chosen["strategy"] = trainer.strategy
    if trainer["precision"] == AUTO:  # is decided on the device
        del chosen["precision"]
    try:
        tried = Trainer(
            **chosen,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        return tried.strategy.root_device.type
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        usual = {"num_nodes": 1}
        named = [n for n, value in chosen.items() if value not in (None, "auto", usual.get(n))]
        given = ", ".join(f"trainer.{n}={chosen[n]}" for n in named)
        there = (
            f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no GPU"
        )
        reason = f"{' '.join(str(error).split()).rstrip('.')}."
        machine = f"This machine has {there} and {available_cores()} CPU cores"
        raise ValueError(f"{given}: {reason} {machine}") from None


def check_goes_on(state: Path, data: TaskData, task: Task, trainer: Any) -> None:
    """Refuse, before a run directory is touched, a state of training that cannot go on with these
    settings.

    Raises:
        ValueError: it is damaged, or what decides its batches has changed, or its optimizer is
            another, or it is further than the end.
    """
    if words := damage(state):
        raise ValueError(f"{state} is damaged: {words}; name another state")
    saved = torch.load(
        state / META if state.is_dir() else state, map_location="meta", weights_only=True
    )
    settings = translated(
        {
            name: trainer[name]
            for name in ("val_check_interval", "check_val_every_n_epoch", "overfit_batches")
        }
    )
    limit = settings.get("limit_train_batches", trainer.limit_train_batches)
    refuse_changes(saved, data.identity, n_share(trainer), trainer.accumulate_grad_batches, limit)
    if 0 < trainer.max_steps < saved.get("global_step", 0):
        raise ValueError(
            f"trainer.max_steps={trainer.max_steps}, but {state} is of step "
            f"{saved['global_step']} already: set that or more"
        )
    if 0 < (trainer.max_epochs or -1) < saved.get("epoch", 0):
        raise ValueError(
            f"trainer.max_epochs={trainer.max_epochs}, but {state} is of epoch {saved['epoch']} "
            "already: set that or more"
        )
    if type(task).configure_optimizers is Task.configure_optimizers and "lr_schedulers" in saved:
        refuse_optimizer(
            saved,
            task.optimizer_of,
            sum(parameter.requires_grad for parameter in task.parameters()),
        )


def check_optimizer(task: Task) -> None:
    """Refuse settings of the optimizer that it cannot be built with.

    Raises:
        ValueError: in the optimizer's words.
    """
    if task.backbone is None or type(task).configure_optimizers is not Task.configure_optimizers:
        return
    try:
        trial_optimizer(task.optimizer_of)
    except (ValueError, TypeError) as error:
        raise ValueError(f"model.optimizer: {' '.join(str(error).split())}") from None


def same_validation(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two configurations validate alike: in their data, in the model but for how it is
    trained, and in the Trainer's limits.

    Settings that only one of them knows, as those of another release, are not compared.
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


def n_share(trainer: Any) -> int:
    """Among how many processes, or groups of them, these settings of a Trainer share the data.

    Raises:
        ValueError: the groups are not of one size.
    """
    chosen = {name: trainer[name] for name in ("accelerator", "devices", "num_nodes")}
    tried = Trainer(
        **chosen,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    world = tried.num_devices * tried.num_nodes
    together = (getattr(trainer.strategy, "init_args", None) or {}).get("tensor_parallel_size", 1)
    if together < 1 or world % together:
        raise ValueError(
            f"trainer.strategy.init_args.tensor_parallel_size={together} must divide the {world} "
            "processes of trainer.devices and"
            " trainer.num_nodes; 1 splits no layer"
        )
    return world // together


def strategy_name(trainer: Any) -> str:
    """As it was given: a word, or the name of a class."""
    given = getattr(trainer.strategy, "class_path", trainer.strategy)
    return str(given).rpartition(".")[2]


def is_sharded(trainer: Any) -> bool:
    """Whether each process is to have a part of the model."""
    return strategy_name(trainer) in ("fsdp", "ShardedStrategy")


def read_splits(command: str, data: TaskData) -> None:
    """Read every split that the command needs.

    Raises:
        ValueError: one is broken or empty, or has an id twice.
        OSError: a file is missing.
    """
    for split in SPLITS[command]:
        if not data.readable(split):
            raise ValueError(f"corpus {data.corpus_name} has nothing in its split {split}")
        if split != "train":
            check_ids(split, [example.id for example in data.examples(split)])
        elif isinstance(data, PairData) and (words := misaligned_pairs(data)):
            rank_zero_print(f"! train: {words}; are both sides in one order?")


def misaligned_pairs(data: PairData) -> str:
    """How training pairs look misaligned; "" where they do not."""
    pairs = [pair for row in data.rows("train") for pair in data.to_pairs(row)]
    return describe_pairs([source for source, _ in pairs], [target for _, target in pairs])


def check_ids(split: str, ids: Sequence[str]) -> None:
    """Refuse an exam in which answers could not be told apart."""
    if twice := [name for name, n in Counter(ids).items() if n > 1]:
        raise ValueError(
            f"{split}: {len(twice)} ids occur twice, {twice[0]!r} is one; a column `id` must be "
            "different in every row"
        )
