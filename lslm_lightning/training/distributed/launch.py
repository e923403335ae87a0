"""Processes of one training: launchers, and what the processes must agree on at the start."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jsonargparse import Namespace
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.precision import AUTO, DECIDED, HALF, SINGLE

if TYPE_CHECKING:
    from torch.distributed import PrefixStore

DIRECTORY = "LSLM_RUN_DIRECTORY"  # run directory of all processes of a job
# variables that Lightning sets for the processes that it starts
LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


# Launchers


def apply_launcher_env(trainer: Namespace) -> str | None:
    """Set devices and nodes of the Trainer to the number of processes that torchrun or SLURM
    started.

    Args:
        trainer: settings of the Trainer, changed in place.

    Returns:
        A message if the settings changed, otherwise None.
    """
    if TorchElasticEnvironment.detect():
        world = int(os.environ["WORLD_SIZE"])
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        name = "torchrun"
    elif SLURMEnvironment.detect():
        n_node = int(os.environ.get("SLURM_NNODES", 1))
        world = int(os.environ["SLURM_NTASKS"])
        name = "SLURM"
        local = world // n_node
    else:
        return None
    before = (trainer["devices"], trainer["num_nodes"])
    trainer["devices"] = local
    trainer["num_nodes"] = world // local
    changed = before != (trainer["devices"], trainer["num_nodes"])
    return (
        (
            f"{name} has started {world} processes: trainer.devices={local}, "
            f"trainer.num_nodes={world // local}"
        )
        if changed
        else None
    )


def launcher_plugins() -> list[SLURMEnvironment]:
    """Return Trainer plugins for the launcher. Lightning's requeueing of SLURM jobs is turned off,
    since SIGUSR1 and `lslm resume` replace it.
    """
    return (
        [SLURMEnvironment(auto_requeue=False)]
        if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
        else []
    )


def check_rendezvous(n_node: int) -> None:
    """Check that processes that were started separately can agree on a run directory and know their
    machine's number.

    Args:
        n_node: number of machines.

    Raises:
        ValueError: the processes have no common run directory, or the number of this machine among
            several is not known.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if n_node > 1 and not (
        TorchElasticEnvironment.detect() or SLURMEnvironment.detect() or "NODE_RANK" in os.environ
    ):
        raise ValueError(
            f"trainer.num_nodes={n_node}, but the number of this machine is not known: start the "
            "command with torchrun or SLURM on each, or use one machine, by --trainer.num_nodes=1"
        )
    if SLURMEnvironment.detect():
        world = max(world, int(os.environ["SLURM_NTASKS"]))
    if world > 1 and DIRECTORY not in os.environ and not TorchElasticEnvironment.detect():
        raise ValueError(
            f"{world} processes were started, which need a common run directory: set "
            f"{DIRECTORY}=runs/<task>/<name> for all of them"
            " (as configs/trainer/slurm.sbatch does), use torchrun, or start one process, which "
            "starts the others by trainer.devices"
        )


def check_agreement(n_node: int) -> None:
    """Check that all processes can agree on a measured precision.

    Args:
        n_node: number of machines.

    Raises:
        ValueError: the processes were started separately and share no store.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if SLURMEnvironment.detect():
        world = max(world, int(os.environ["SLURM_NTASKS"]))
    if (
        max(world, n_node) > 1
        and DECIDED not in os.environ
        and not TorchElasticEnvironment.detect()
    ):
        raise ValueError(
            f"trainer.precision={AUTO} is chosen by a measurement in one process, but these were "
            "started separately and may measure different times: set"
            f" trainer.precision to {HALF} or {SINGLE} (lslm fit on one device says which is "
            "faster), or use torchrun"
        )


def agree_on_precision(rank: int, decide: Callable[[], str]) -> str:
    """Return the precision that the first process chose. Its child processes and other processes of
    torchrun return the same one.

    Args:
        rank: rank of this process.
        decide: function that measures and returns the precision; called by the first process only.

    Raises:
        ValueError: the environment names an unknown precision.
    """
    if DECIDED not in os.environ and TorchElasticEnvironment.detect():
        store = _store(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
        if rank == 0:
            store.set("precision", decide())
        os.environ[DECIDED] = store.get("precision").decode()
    if DECIDED not in os.environ:
        os.environ[DECIDED] = decide()
    if (decided := os.environ[DECIDED]) not in (SINGLE, HALF):
        raise ValueError(
            f"{DECIDED}={decided} must be {SINGLE} or {HALF}; unset it to have it measured"
        )
    return decided


def previous_attempt() -> RunDirectory | None:
    """Return the run directory that this job had before torchrun restarted its processes; None at
    the first start.
    """
    if not TorchElasticEnvironment.detect():
        return None
    for attempt in range(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) - 1, -1, -1):
        store = _store(attempt)
        if store.check(["directory"]):
            return RunDirectory(Path(store.get("directory").decode()))
    return None


def rendezvous(rank: int, make: Callable[[], RunDirectory]) -> RunDirectory:
    """Return the common run directory of all processes.

    Args:
        rank: rank of this process; rank 0 creates the directory.
        make: function that creates a new run directory; not used if the environment names a
            directory.

    Raises:
        ValueError: the directory that the environment names already contains a run.
    """
    if DIRECTORY in os.environ:
        directory = RunDirectory(Path(os.environ[DIRECTORY]))
        if rank == 0:
            if directory.config.exists():
                raise ValueError(
                    f"{DIRECTORY}={directory.path} already contains a run: use `lslm resume "
                    f"{directory.path}`, or name another directory"
                )
            directory.path.mkdir(parents=True, exist_ok=True)
        return directory
    if not TorchElasticEnvironment.detect():
        return make()
    store = _store(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
    if rank == 0:
        directory = make()
        store.set("directory", str(directory.path))
    return RunDirectory(Path(store.get("directory").decode()))


def connect_again(device_type: str) -> None:
    """Create the process group of processes that torchrun restarted; does nothing at the first
    start. Lightning then uses this group.

    The store that the processes inherit cannot be used, since it still has the addresses of the
    dead processes.

    Args:
        device_type: "cuda" for GPUs; any other value for CPUs.
    """
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if not TorchElasticEnvironment.detect() or not attempt or torch.distributed.is_initialized():
        return
    if device_type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank = int(os.environ["RANK"])
    world = int(os.environ["WORLD_SIZE"])
    backend = "nccl" if device_type == "cuda" else "gloo"
    torch.distributed.init_process_group(
        backend, store=_store(attempt), rank=rank, world_size=world
    )


def _store(attempt: int) -> "PrefixStore":
    """Return the key-value store that torchrun's processes share in the given attempt."""
    from torch.distributed import PrefixStore, TCPStore

    address = os.environ["MASTER_ADDR"]
    port = int(os.environ["MASTER_PORT"])
    shared = TCPStore(address, port, is_master=False, timeout=timedelta(minutes=5))
    return PrefixStore(f"lslm/{os.environ.get('TORCHELASTIC_RUN_ID', '')}/{attempt}", shared)
