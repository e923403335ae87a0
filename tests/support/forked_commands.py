"""Processes of `python -m lslm_lightning`, or of a script, that need not import anything: forked
from one that has.

Each is a process of its own, with its own environment, working directory, output and signals; only
the ten seconds in which torch, lightning and mlflow are imported are spent once instead of every
time.
"""

import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import IO

from filelock import FileLock

MODULE = "lslm_lightning"
ROOT = Path(__file__).parents[2]
# in place of the length of an order: who sends it uses the origin until the connection ends
LEASE = bytes(8)
PRELOADED = (
    *(
        f"lslm_lightning.experiments.{name}"
        for name in ("starting", "resuming", "evaluation_spec", "evaluation", "comparison")
    ),
    *(
        f"tasks.{task}.{part}"
        for task in ("translation", "language_modeling", "summarization")
        for part in ("task", "data", "report")
    ),
    *(
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_workspace_store",
        "mlflow.tracking.client",
        "mlflow.store.artifact.local_artifact_repo",
    ),
    *(
        "mlflow.system_metrics.system_metrics_monitor",
        "alembic.command",
        "sqlalchemy.dialects.sqlite",
        "babel.dates",
        "babel.numbers",
    ),
)

WARM_CLASSES = (  # whose source is read, with that of their bases, wherever a config names them
    "lightning.pytorch.Trainer",
    "lslm_lightning.models.transformer.Transformer",
    *(
        f"tasks.{task}{kind}"
        for task in ("translation.Translation", "language_modeling.LanguageModeling")
        for kind in ("Task", "Data")
    ),
    "torch.optim.AdamW",
)
WARM_CONFIGS = (
    "translation/cldr_demo.yaml",
    "language_modeling/docstrings_demo.yaml",
    "summarization/docstrings_demo.yaml",
)


class Forked:
    """Like `subprocess.Popen` with output and errors in one text pipe, as far as tests need it."""

    def __init__(
        self, connection: socket.socket, pid: int, stdout: IO[str], stdin: IO[bytes] | None
    ) -> None:
        self._connection = connection
        self.pid = pid
        self.stdout = stdout
        self.stdin = stdin
        self.args = MODULE
        self.returncode = None

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
    """The process that has imported all and forks. One for all workers of a session; it ends when
    the last of them leaves it.

    Args:
        folder: that all workers share.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._address = str(folder / "origin")
        with FileLock(folder / "origin.lock"):
            try:
                self._lease = self._connect()
            except OSError:
                self._start(environment)
                self._lease = self._connect()
        self._lease.sendall(LEASE)

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        terminal: int | None = None,
        script: Path | None = None,
        has_input: bool = False,
    ) -> Forked:
        """Fork a process of `python -m lslm_lightning ARGUMENTS`.

        Args:
            has_input: whether it reads from a pipe, not from /dev/null.
            script: a Python file that is run instead.
            terminal: its controlling terminal, for all it reads and writes; default: it writes into
                a pipe.
        """
        read, write = (
            os.pipe() if terminal is None else (os.open(os.devnull, os.O_RDONLY), terminal)
        )
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "directory": str(directory),
        }
        order |= {"terminal": terminal is not None, "script": script and str(script)}
        given, stdin = os.open(os.devnull, os.O_RDONLY), None
        if has_input:
            os.close(given)
            given, end = os.pipe()
            stdin = os.fdopen(end, "wb")
        text = json.dumps(order).encode()
        connection = self._connect()
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [write, given])
        connection.sendall(text)
        os.close(write)
        os.close(given)
        return Forked(
            connection,
            int(connection.recv(64)),
            os.fdopen(read, "r", encoding="utf-8", errors="replace"),
            stdin,
        )

    def close(self) -> None:
        self._lease.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _start(self, environment: Mapping[str, str]) -> None:
        Path(self._address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen(64)
            number = listener.fileno()
            command = [
                sys.executable,
                "-c",
                f"from tests.support.forked_commands import serve; serve({number})",
            ]
            subprocess.Popen(command, pass_fds=[number], env=dict(environment), cwd=ROOT)


def draw_less(assign: Callable[[object, str, object], None]) -> None:
    """Let intervals and paired tests of whole commands draw 100 times, not 10,000: tests/metrics
    has how good they are.
    """
    names = ("experiments.run_evaluation", "evaluation.comparison", "metrics.resampling")
    finish, comparison, resampling = (import_module(f"lslm_lightning.{name}") for name in names)
    assign(finish, "compare_with_others", partial(comparison.compare_with_others, n_resample=100))
    assign(resampling, "TEST_RESAMPLES", 100)  # which `lslm evaluate` asks for when it is called


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


def look_up_once() -> None:
    """Let a process read only once what is installed: migrations of MLflow's databases, not for
    every store that it opens; entry points, not for every `Trainer`; versions, not for every page.
    Nothing is imported for it.
    """
    for path in (
        "mlflow.store.db.utils._get_latest_schema_revision",
        "lightning.fabric.utilities.registry.entry_points",
        "lslm_lightning.experiments.run_records.version",
    ):
        module, _, name = path.rpartition(".")
        if found := sys.modules.get(module):
            setattr(found, name, cache(getattr(found, name)))


def warm_up() -> None:
    """Import, and fill caches of what is the same in every process: source code and versions of
    installed packages, compiled templates of reports, and the model that tells languages.
    """
    for name in PRELOADED:
        import_module(name)
    look_up_once()
    module = partial(import_module, package=MODULE)
    module(".tracking.environment").environment()
    module(".text.identification")._identifier()
    for form, page in (("html", "page.html"), ("md", "page.md")):
        templates = module(".reports.page").template_environment(form, "en")
        for template in (page, *templates.list_templates(extensions=[form])):
            templates.get_template(template)
    settings_of = module(".configuration.signatures").settings_of
    for path in WARM_CLASSES:
        settings_of(path)
    module(".tracking.mlflow_internals").latest_revision()
    read_settings = module(".configuration.cli").read_settings
    for config in WARM_CONFIGS:  # jsonargparse keeps the parser of each class
        read_settings(["run", f"--config={ROOT / 'configs' / config}"])


def serve(number: int) -> None:
    """Import, then fork as often as asked at the listening socket `number`, and tell how each
    process ended.
    """
    gc.disable()
    warm_up()
    draw_less(setattr)
    gc.freeze()  # forked processes share what is never looked at
    gc.enable()

    listener = socket.socket(fileno=number)
    running: dict[int, socket.socket] = {}
    leases: set[socket.socket] = set()
    while True:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with suppress(OSError):
                    running[pid].sendall(str(os.waitstatus_to_exitcode(status)).encode())
                running.pop(pid).close()
        ready, _, _ = select.select([listener, *leases], [], [], 0.02 if running else None)
        for lease in leases & set(ready):  # has nothing more to say: it is given back
            leases.remove(lease)
            lease.close()
            if not leases:
                os._exit(0)
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        head, descriptors, *_ = socket.recv_fds(connection, len(LEASE), 2)
        if head == LEASE:
            leases.add(connection)
            continue
        order = json.loads(connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        if pid := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            connection.sendall(str(pid).encode())
            running[pid] = connection
        else:
            for inherited in (listener, connection, *leases, *running.values()):
                inherited.close()
            become(order, *descriptors)


def become(order: Mapping[str, object], output: int, given: int) -> None:
    """Run `python -m lslm_lightning`, or a script, in the forked process, and exit.

    Args:
        output: where it writes.
        given: where it reads, unless it has a terminal.
    """
    import runpy

    if order["terminal"]:
        os.setsid()
        fcntl.ioctl(output, termios.TIOCSCTTY, 0)
        given = output
    os.dup2(given, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    if given > 2 and given != output:
        os.close(given)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    # asked at import
    rank_zero_only.rank = int(
        os.environ.get("RANK", os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", 0)))
    )
    sys.argv = [order["script"] or MODULE, *order["arguments"]]
    sys.path[0] = ""
    status = 0
    try:
        if order["script"]:
            runpy.run_path(order["script"], run_name="__main__")
        else:
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
