"""Processes of one training: launchers, their common run directory, and the loss of a process."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.lightning_internals import monitor_launch
from lslm_lightning.training.precision import AUTO, DECIDED, HALF, SINGLE

if TYPE_CHECKING:
    from torch.distributed import PrefixStore

DIRECTORY = "LSLM_RUN_DIRECTORY"  # tells the processes of one job where its run directory is
# what Lightning tells the processes that it starts
LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
GRACE_SECONDS = 15.0  # for the processes that are left to notice by themselves that one is gone
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL",
    "gloo",
    "remote process exited",
    "ProcessGroup",
)


# Launchers


def take_launched(trainer: Namespace) -> str | None:
    """Set the Trainer's devices and nodes to the number of processes that torchrun or SLURM
    started; return a message if that changed them.
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


def of_launcher() -> list[SLURMEnvironment]:
    """Return Trainer plugins for the launcher; SLURM's own requeueing is turned off, since SIGUSR1
    and `lslm resume` replace it.
    """
    return (
        [SLURMEnvironment(auto_requeue=False)]
        if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
        else []
    )


def check_meeting(n_node: int) -> None:
    """Raise ValueError if several processes could not agree on a run directory, or several machines
    have no rank.
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
    """Raise ValueError if the precision is to be measured by processes that were started separately
    and share no store.
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
    """Return the precision chosen by the first process, for it, its children and torchrun's other
    processes.

    Args:
        rank: rank of this process.
        decide: measures and returns the precision; called by the first process only.

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


def met_before() -> RunDirectory | None:
    """Return the run directory of this job before torchrun restarted its processes; None at the
    first start.
    """
    if not TorchElasticEnvironment.detect():
        return None
    for attempt in range(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) - 1, -1, -1):
        store = _store(attempt)
        if store.check(["directory"]):
            return RunDirectory(Path(store.get("directory").decode()))
    return None


def meet(rank: int, make: Callable[[], RunDirectory]) -> RunDirectory:
    """Return the run directory common to all processes; rank 0 creates it with `make`, or under the
    name in the environment.
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
    """Connect processes that torchrun restarted: the store they inherit still has the addresses of
    the dead ones.

    Lightning uses the process group created here.
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
    """Return the key-value store that torchrun's processes share in this attempt."""
    from torch.distributed import PrefixStore, TCPStore

    address = os.environ["MASTER_ADDR"]
    port = int(os.environ["MASTER_PORT"])
    shared = TCPStore(address, port, is_master=False, timeout=timedelta(minutes=5))
    return PrefixStore(f"lslm/{os.environ.get('TORCHELASTIC_RUN_ID', '')}/{attempt}", shared)


# Losses


class Watch:
    """Monitor of the processes that rank 0 started, instead of Lightning's observer, which kills
    rank 0 without a message.

    If one is lost, the others usually notice it at their next collective call. Those that hang in
    it are killed after `GRACE_SECONDS`.

    Args:
        lost: called in another thread before this process is killed because it hangs.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self.lost = lost
        self._children: Sequence[subprocess.Popen] = ()
        self._over = threading.Event()

    def start(self) -> None:
        """Watch the parent, if this is a child of rank 0."""
        if (
            DIRECTORY in os.environ
            and int(os.environ.get("LOCAL_RANK", "0")) > 0
            and not TorchElasticEnvironment.detect()
        ):
            threading.Thread(target=self._look_at_parent, args=(os.getppid(),), daemon=True).start()

    def attach(self, trainer: Trainer) -> None:
        """Watch the processes that this Trainer will start."""
        monitor_launch(trainer, self._watch_children)

    def stop(self) -> None:
        """Stop watching, because the work is done."""
        self._over.set()

    def words(self, wait_seconds: float = 2.0) -> str:
        """Return text on which process was lost, waiting up to `wait_seconds` until it is known."""
        end = time.monotonic() + wait_seconds
        while not (gone := self._gone()) and self._children and time.monotonic() < end:
            time.sleep(0.1)
        return gone or "another process of this training ended"

    def _gone(self) -> str:
        for rank, child in enumerate(self._children, 1):
            status = child.poll()
            if status:
                how = (
                    f"was killed by {signal.Signals(-status).name}"
                    if status < 0
                    else f"ended with exit status {status}"
                )
                return f"the process of rank {rank} {how}"
        return ""

    def _watch_children(self, children: Sequence[subprocess.Popen]) -> None:
        self._children = children
        threading.Thread(target=self._look_at_children, daemon=True).start()

    def _look_at_children(self) -> None:
        while not self._gone():
            if self._over.wait(0.5):
                return
        if not self._over.wait(GRACE_SECONDS):  # they hang
            self.lost()
            for child in self._children:
                child.kill()
            os._exit(1)

    def _look_at_parent(self, parent: int) -> None:
        while os.getppid() == parent:
            if self._over.wait(0.5):
                return
        if not self._over.wait(GRACE_SECONDS):
            os._exit(1)


def is_loss(error: BaseException) -> bool:
    """Return whether an error means that another process does not answer."""
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in LOST)
