"""Processes of `python -m lslm_lightning` that need not import anything: forked from one that has.

Each is a process of its own, with its own environment, working directory, output and signals; only the ten seconds in which torch,
lightning and mlflow are imported are spent once instead of every time.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO

from tests.patience import PATIENCE

MODULE = "lslm_lightning"
PRELOADED = (
    *(f"lslm_lightning.commands.{name}" for name in ("train", "resume", "evaluate", "examination", "side_by_side")),
    *(f"tasks.{task}.{part}" for task in ("translation", "language_modeling", "summarization") for part in ("task", "data", "report")),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking.client", "mlflow.store.artifact.local_artifact_repo"),
)


class Forked:
    """Like `subprocess.Popen` with output and errors in one text pipe, as far as tests need it."""

    def __init__(self, connection: socket.socket, pid: int, stdout: IO[str]) -> None:
        self._connection, self.pid, self.stdout = connection, pid, stdout
        self.args, self.returncode = MODULE, None

    def poll(self) -> int | None:
        return self._read(0.0)

    def wait(self, timeout: float | None = None) -> int:
        if self._read(timeout) is None:
            raise subprocess.TimeoutExpired(MODULE, timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        end = None if timeout is None else time.monotonic() + timeout
        os.set_blocking(self.stdout.fileno(), False)
        parts = []
        while True:
            try:
                found = os.read(self.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                found = None
            if found == b"":
                break
            if found is None:
                if end is not None and time.monotonic() > end:
                    raise subprocess.TimeoutExpired(MODULE, timeout, b"".join(parts))
                time.sleep(0.01)
            else:
                parts.append(found)
        self.wait(None if end is None else max(0.1, end - time.monotonic()))
        return b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n"), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(64))
            except (TimeoutError, BlockingIOError):
                return None
        return self.returncode


class Origin:
    """The process that has imported all and forks. One for all tests of a worker."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._ours, theirs = socket.socketpair()
        command = [sys.executable, "-c", "import sys; from tests.forked import serve; serve(int(sys.argv[1]))", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=dict(environment), cwd=Path(__file__).parents[1])
        theirs.close()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> Forked:
        """A new process of `python -m lslm_lightning ARGUMENTS`."""
        read, write = os.pipe()
        connection, theirs = socket.socketpair()
        order = json.dumps({"arguments": list(arguments), "environment": dict(environment), "directory": str(directory)}).encode()
        socket.send_fds(self._ours, [len(order).to_bytes(8, "big")], [write, theirs.fileno()])
        self._ours.sendall(order)
        os.close(write)
        theirs.close()
        return Forked(connection, int(connection.recv(64)), os.fdopen(read, "r", encoding="utf-8", errors="replace"))

    def close(self) -> None:
        self._ours.close()
        self._process.wait(PATIENCE)


def of_torchrun(n: int, port: int, attempt: int = 0) -> list[dict[str, str]]:
    """Variables of the environment that torchrun would give to each of `n` processes.

    Args:
        port: of the store that they share, which is there.
        attempt: how often they were restarted.
    """
    shared = {
        "TORCHELASTIC_RUN_ID": "tests",
        "TORCHELASTIC_RESTART_COUNT": str(attempt),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "GROUP_RANK": "0",
    }
    return [{**shared, "RANK": str(i), "LOCAL_RANK": str(i)} for i in range(n)]


def serve(number: int) -> None:
    """In the origin: import, then fork as often as asked, and tell how each ended."""
    for name in PRELOADED:
        import_module(name)

    orders = socket.socket(fileno=number)
    running: dict[int, socket.socket] = {}
    orders.settimeout(0.02)
    while True:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with suppress(OSError):
                    running[pid].sendall(str(os.waitstatus_to_exitcode(status)).encode())
                running.pop(pid).close()
        try:
            head, descriptors, *_ = socket.recv_fds(orders, 8, 2)
        except TimeoutError:
            continue
        if not head:
            os._exit(0)
        orders.settimeout(None)
        order = json.loads(orders.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        orders.settimeout(0.02)
        output, connection = descriptors[0], socket.socket(fileno=descriptors[1])
        if pid := os.fork():
            os.close(output)
            connection.sendall(str(pid).encode())
            running[pid] = connection
        else:
            orders.close()
            become(order, output)


def become(order: Mapping[str, object], output: int) -> None:
    """In the forked process: be `python -m lslm_lightning`."""
    import runpy

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    rank_zero_only.rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", 0))))  # asked at import
    sys.argv = [MODULE, *order["arguments"]]
    sys.path[0] = ""
    status = 0
    try:
        runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    import atexit

    atexit._run_exitfuncs()
    os._exit(status)
