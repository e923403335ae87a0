"""Monitor of the processes of one training, which notices when a process is lost."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import TorchElasticEnvironment

from lslm_lightning.training.distributed.launch import DIRECTORY
from lslm_lightning.training.lightning_internals import monitor_launch

GRACE_SECONDS = 15.0  # for the other processes to notice the loss themselves
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL",
    "gloo",
    "remote process exited",
    "ProcessGroup",
)


class WorkerMonitor:
    """Monitor of the processes that rank 0 started, instead of Lightning's observer, which kills
    rank 0 without a message.

    If a process is lost, the others usually get an error in their next collective call. Processes
    that hang in this call instead are killed after `GRACE_SECONDS`.

    Args:
        on_worker_lost: function that is called in another thread before this process is killed
            because it hangs.
    """

    def __init__(self, on_worker_lost: Callable[[], None]) -> None:
        self.on_worker_lost = on_worker_lost
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._over = threading.Event()

    def start(self) -> None:
        """Start to watch the parent process, if this is a process that rank 0 started."""
        if (
            DIRECTORY in os.environ
            and int(os.environ.get("LOCAL_RANK", "0")) > 0
            and not TorchElasticEnvironment.detect()
        ):
            threading.Thread(target=self._look_at_parent, args=(os.getppid(),), daemon=True).start()

    def attach(self, trainer: Trainer) -> None:
        """Start watching the processes that this Trainer is going to start, so that the loss of one
        of them is noticed.
        """
        monitor_launch(trainer, self._monitor_children)

    def stop(self) -> None:
        """Stop watching, because the work is done."""
        self._over.set()

    def message(self, wait_seconds: float = 2.0) -> str:
        """Return a message that says which process was lost.

        Args:
            wait_seconds: longest time to wait until the lost process is known.
        """
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

    def _monitor_children(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        self._children = children
        threading.Thread(target=self._look_at_children, daemon=True).start()

    def _look_at_children(self) -> None:
        while not self._gone():
            if self._over.wait(0.5):
                return
        if not self._over.wait(GRACE_SECONDS):  # they hang
            self.on_worker_lost()
            for child in self._children:
                child.kill()
            os._exit(1)

    def _look_at_parent(self, parent: int) -> None:
        while os.getppid() == parent:
            if self._over.wait(0.5):
                return
        if not self._over.wait(GRACE_SECONDS):
            os._exit(1)


def is_worker_failure(error: BaseException) -> bool:
    """Return whether an error, by its message, means that another process does not answer."""
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in LOST)
