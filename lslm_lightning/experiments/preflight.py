"""Checks of settings, devices and data before a job starts."""

from collections import Counter
from collections.abc import Sequence

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lslm_lightning.configuration.given_settings import check_checkpoint_given
from lslm_lightning.configuration.job import Job
from lslm_lightning.configuration.lightning_cli_internals import chosen_devices
from lslm_lightning.configuration.subcommands import LOADERS, TRAINING, split_of
from lslm_lightning.configuration.trainer_settings import check_trainer
from lslm_lightning.evaluation.pair_alignment import describe_pairs
from lslm_lightning.runs.directory import check_name
from lslm_lightning.training.compilation import Compile
from lslm_lightning.training.cores import available_cores
from lslm_lightning.training.data import TaskData, rank_zero_print
from lslm_lightning.training.distributed.launch import check_agreement, check_rendezvous
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.training.precision import AUTO, HALF, SINGLE

SPAWNING = ("ddp_spawn", "ddp_fork", "ddp_notebook")  # how names of strategies begin
SHARDING = (  # how names of strategies begin that shard models in another way than ours
    "fsdp_",
    "deepspeed",
    "FSDPStrategy",
    "ModelParallelStrategy",
    "DeepSpeedStrategy",
)


def check_job(
    command: str, job: Job, trainer: Namespace, checkpoint: str | None, one_pass: bool = False
) -> str:
    """Check the settings of a job and its Trainer, and return the device type that they select,
    "cpu" or "cuda".

    Args:
        command: subcommand: "run", "fit", "validate", "test" or "predict".
        trainer: Trainer settings.
        checkpoint: path from the setting `ckpt_path`; None if not set.
        one_pass: whether the task reads its training texts only once, in order.

    Raises:
        ValueError: a setting is wrong; the message names the setting and a way out.
    """
    if job.name is not None:
        check_name(job.name, "job.name")
    if job.registered_model is not None:
        check_name(job.registered_model, "job.registered_model")
    for name in ("keep_last", "keep_best", "save_every_steps", "save_every_minutes"):
        if (value := getattr(job, name)) is not None and value <= 0:
            raise ValueError(f"job.{name}={value} must be more than 0")
    check_trainer(command, trainer, one_pass)
    check_seeds(command, job, checkpoint)
    if command in TRAINING:
        check_length_given(job, trainer, checkpoint)
        check_validates_between_steps(trainer)
    check_checkpoint_given(command, checkpoint)
    check_strategy(trainer)
    if command in TRAINING and job.minutes and is_sharded(trainer) and trainer.max_steps < 1:
        raise ValueError(
            f"job.minutes={job.minutes:g} cannot be measured on a sharded model: set "
            "trainer.max_steps or trainer.max_epochs"
        )
    check_precision(trainer)
    return check_devices(trainer)


def check_seeds(command: str, job: Job, checkpoint: str | None) -> None:
    """Check the number of seeds, `job.seeds`.

    Args:
        checkpoint: path from the setting `ckpt_path`; None if not set.

    Raises:
        ValueError: the number is below 1, or there are several seeds although the command or the
            checkpoint does not allow them.
    """
    if job.seeds < 1:
        raise ValueError(f"job.seeds={job.seeds} must be at least 1")
    if job.seeds > 1 and command != "run":
        raise ValueError(
            f"job.seeds={job.seeds} is for lslm run alone; leave --seeds out of lslm {command}, "
            "or use lslm run"
        )
    if job.seeds > 1 and checkpoint:
        raise ValueError(
            f"job.seeds={job.seeds} with ckpt_path: a checkpoint is of one seed, and no other "
            "seed can continue with its batches; leave one out"
        )


def check_length_given(job: Job, trainer: Namespace, checkpoint: str | None) -> None:
    """Check that the settings say how long to train.

    Args:
        checkpoint: path from the setting `ckpt_path`; None if not set.

    Raises:
        ValueError: no setting says so, or `job.minutes` is set for a training that starts from a
            checkpoint.
    """
    if trainer.max_steps > 0 or (trainer.max_epochs or -1) >= 0:
        return
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
            f"job.minutes={job.minutes:g} with ckpt_path: the config.yaml of the earlier run says "
            "how many steps the minutes were; use it"
        )


def check_validates_between_steps(trainer: Namespace) -> None:
    """Check that validations fall between optimizer steps.

    Raises:
        ValueError: `val_check_interval` would validate within an optimizer step, or is a time
            instead of a number of batches.
    """
    every = trainer.val_check_interval
    accumulated = trainer.accumulate_grad_batches
    if isinstance(every, int) and every % accumulated:
        raise ValueError(
            f"trainer.val_check_interval={every} counts batches and must be a multiple of "
            f"trainer.accumulate_grad_batches={accumulated}, so that a validation comes between "
            f"two steps; set {-(-every // accumulated) * accumulated}"
        )
    if every is not None and not isinstance(every, int | float):
        raise ValueError(
            f"trainer.val_check_interval={every} follows a clock, so that no run could be "
            "repeated: give a number of batches"
        )
    if isinstance(every, float) and every != 1.0 and accumulated > 1:
        raise ValueError(
            f"trainer.val_check_interval={every} may come within a step of "
            f"trainer.accumulate_grad_batches={accumulated} batches: give a number of batches "
            "that is a multiple of it"
        )


def check_strategy(trainer: Namespace) -> None:
    """Refuse Trainer strategies whose processes cannot share a run directory, and sharding methods
    other than this project's.

    Raises:
        ValueError: the message names the strategy to use instead.
    """
    name = strategy_name(trainer)
    if name.startswith(SPAWNING):
        raise ValueError(
            f"trainer.strategy={name} starts processes that cannot share a run directory: set "
            "trainer.strategy=ddp"
        )
    method = (getattr(trainer.strategy, "init_args", None) or {}).get("start_method")
    if method not in (None, "popen"):
        raise ValueError(
            f"trainer.strategy.init_args.start_method={method} starts processes that cannot share "
            "a run directory: leave it out, which starts each by the command line"
        )
    if name.startswith(SHARDING):
        raise ValueError(
            f"trainer.strategy={name}: models are sharded by --config configs/trainer/fsdp.yaml "
            "(with FSDP2), or fsdp_tp.yaml"
        )


def check_precision(trainer: Namespace) -> None:
    """Refuse float16 precision, and `auto` for models whose training step cannot be measured.

    Raises:
        ValueError: the message names a precision to use instead.
    """
    if str(trainer.precision).startswith("16"):
        raise ValueError(
            f"trainer.precision={trainer.precision} cannot hold sums of nats; use bf16-mixed"
        )
    check_rendezvous(trainer.num_nodes)
    if trainer.precision == AUTO:
        if is_sharded(trainer):
            raise ValueError(
                f"trainer.precision={AUTO} cannot be measured on a sharded model: set {HALF} or "
                f"{SINGLE}"
            )
        check_agreement(trainer.num_nodes)


def check_compile(mode: Compile, trainer: Namespace) -> None:
    """Raise ValueError if training steps are to be compiled, but the Trainer's strategy shards the
    model.

    Args:
        mode: the setting `model.compile`.
    """
    if mode is True and is_sharded(trainer):
        raise ValueError(
            f"model.compile=true with trainer.strategy={strategy_name(trainer)}: steps of a "
            "sharded model are not compiled; set model.compile to false, or trainer.strategy to ddp"
        )


def check_one_process(task: str, trainer: Namespace) -> None:
    """Raise ValueError if the Trainer has several processes; used for tasks that read their texts
    in order.

    Args:
        task: name of the task, for the message.
    """
    if (n := n_share(trainer)) > 1:
        raise ValueError(
            f"{task} reads its texts in one process, and trainer.devices and trainer.num_nodes "
            f"make {n}: set both to 1"
        )


def check_whole_layers(trainer: Namespace) -> None:
    """Raise ValueError if processes compute each layer together; used for layers that have an
    adapter.
    """
    n = (getattr(trainer.strategy, "init_args", None) or {}).get("tensor_parallel_size", 1)
    if n > 1:
        raise ValueError(
            f"trainer.strategy.init_args.tensor_parallel_size={n} cannot split layers that have an "
            "adapter: set it to 1, which shards them (configs/trainer/fsdp.yaml), or leave out "
            "model.adapter"
        )


def check_devices(trainer: Namespace) -> str:
    """Check that the devices in the Trainer settings exist, and return their type, "cpu" or "cuda".

    Raises:
        ValueError: a device does not exist; the message lists the devices of this machine.
    """
    strategy = trainer.strategy
    strategy = strategy if isinstance(strategy, str) and not is_sharded(trainer) else "auto"
    precision = None if trainer.precision == AUTO else trainer.precision  # decided on the device
    try:
        return chosen_devices(
            trainer.accelerator, trainer.devices, trainer.num_nodes, strategy, precision
        ).device.type
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        chosen = {
            "accelerator": trainer.accelerator,
            "devices": trainer.devices,
            "num_nodes": None if trainer.num_nodes == 1 else trainer.num_nodes,
            "precision": precision,
            "strategy": strategy,
        }
        given = ", ".join(
            f"trainer.{name}={value}"
            for name, value in chosen.items()
            if value not in (None, "auto")
        )
        there = (
            f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no GPU"
        )
        reason = f"{' '.join(str(error).split()).rstrip('.')}."
        machine = f"This machine has {there} and {available_cores()} CPU cores"
        raise ValueError(f"{given}: {reason} {machine}") from None


def n_share(trainer: Namespace) -> int:
    """Return the number of data-parallel shares that these Trainer settings make: processes, or
    groups of tensor-parallel processes.

    Raises:
        ValueError: the processes cannot be divided into groups of equal size.
    """
    found = chosen_devices(trainer.accelerator, trainer.devices, trainer.num_nodes)
    world = found.n_device * trainer.num_nodes
    together = (getattr(trainer.strategy, "init_args", None) or {}).get("tensor_parallel_size", 1)
    if together < 1 or world % together:
        raise ValueError(
            f"trainer.strategy.init_args.tensor_parallel_size={together} must divide the {world} "
            "processes of trainer.devices and trainer.num_nodes; 1 splits no layer"
        )
    return int(world // together)


def strategy_name(trainer: Namespace) -> str:
    """Return the name of the Trainer's strategy, as given or from its class."""
    given = getattr(trainer.strategy, "class_path", trainer.strategy)
    return str(given).rpartition(".")[2]


def is_sharded(trainer: Namespace) -> bool:
    """Return whether the Trainer's strategy shards the model across processes."""
    return strategy_name(trainer) in ("fsdp", "ShardedStrategy")


def read_splits(command: str, data: TaskData) -> None:
    """Read every split that a command needs, to find faults early.

    Raises:
        ValueError: a split is broken or empty, or contains an id twice.
        OSError: a file is missing.
    """
    for split in map(split_of, LOADERS[command]):
        if not data.readable(split):
            raise ValueError(f"corpus {data.corpus_name} has nothing in its split {split}")
        if split != "train":
            check_ids(split, [example.id for example in data.examples(split)])
        elif isinstance(data, PairData) and (warning := misaligned_pairs(data)):
            rank_zero_print(f"! train: {warning}; are both sides in one order?")


def misaligned_pairs(data: PairData) -> str:
    """Return a warning if the training pairs look misaligned; "" otherwise."""
    pairs = [pair for row in data.rows("train") for pair in data.to_pairs(row)]
    return describe_pairs([source for source, _ in pairs], [target for _, target in pairs])


def check_ids(split: str, ids: Sequence[str]) -> None:
    """Raise ValueError if two examples of a split have the same id.

    Args:
        split: name of the split, for the message.
    """
    if twice := [name for name, n in Counter(ids).items() if n > 1]:
        raise ValueError(
            f"{split}: {len(twice)} ids occur twice, {twice[0]!r} is one; a column `id` must be "
            "different in every row"
        )
