"""Windows and macOS lack some of what Linux has: nothing here takes it for granted."""

import ast
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lslm_lightning.experiments import child_process as commands
from lslm_lightning.experiments.dashboard import stop
from lslm_lightning.runs.states import synchronize
from lslm_lightning.tracking import database
from lslm_lightning.training.callbacks.interruption import Deadline
from lslm_lightning.training.signals import Interrupted, stoppable, stopping_signals
from tests.support.waiting import PATIENCE

HOME = Path(__file__).parents[1]
MODULES = {
    "fcntl",
    "termios",
    "tty",
    "pty",
    "resource",
    "pwd",
    "grp",
    "syslog",
    "posix",
    "readline",
}
OF_WINDOWS = {"SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV", "SIG_IGN", "SIG_DFL"}
ABSENT = {  # from os on Windows, or also on macOS
    *(
        "fork",
        "forkpty",
        "killpg",
        "getpgid",
        "getpgrp",
        "setsid",
        "setpgid",
        "getuid",
        "geteuid",
        "getgid",
        "getgroups",
    ),
    *(
        "chown",
        "fchown",
        "fchmod",
        "mkfifo",
        "mknod",
        "uname",
        "nice",
        "statvfs",
        "getloadavg",
        "wait",
        "waitid",
        "sync",
    ),
    *(
        "sched_getaffinity",
        "sched_setaffinity",
        "posix_fadvise",
        "sendfile",
        "openpty",
        "O_DIRECTORY",
        "O_NOFOLLOW",
    ),
}
SIGNALS = {
    "setitimer",
    "getitimer",
    "alarm",
    "pause",
    "sigwait",
    "pthread_kill",
    "pthread_sigmask",
    "siginterrupt",
    "ITIMER_REAL",
}


def taken_for_granted(source: str) -> list[str]:
    """Return the attributes that a module uses without `hasattr` and that another system lacks."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [each.name for each in node.names]
            )
            found += [name for name in names if name.partition(".")[0] in MODULES]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = node.value.id
            name = node.attr
            is_signal = module == "signal" and (
                name in SIGNALS or (name.startswith("SIG") and name not in OF_WINDOWS)
            )
            if is_signal or (module == "os" and name in ABSENT):
                found.append(f"{module}.{name}")
    asked_as = {"ITIMER_REAL": "setitimer", "SIGSTOP": "SIGTSTP", "SIGCONT": "SIGTSTP"}
    last = {name: name.rpartition(".")[2] for name in found}
    return [name for name in found if f'"{asked_as.get(last[name], last[name])}"' not in source]


@pytest.mark.slow
def test_what_other_systems_lack_is_asked_for() -> None:
    files = [*(HOME / "lslm_lightning").rglob("*.py"), *(HOME / "tasks").rglob("*.py")]
    found = {
        str(path.relative_to(HOME)): taken_for_granted(path.read_text("utf-8")) for path in files
    }
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", ["fcntl"]),
        ("import os\nos.fork()", ["os.fork"]),
        ("import signal\nsignal.signal(signal.SIGUSR1, f)", ["signal.SIGUSR1"]),
        ("import signal\nif hasattr(signal, 'SIGUSR1'):\n  pass".replace("'", '"'), []),
        ("import signal\nsignal.SIGTERM", []),
    ],
)
def test_the_check_sees_what_it_is_for(source: str, found: list[str]) -> None:
    assert taken_for_granted(source) == found


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """`os` and `signal` without what they lack there."""
    for name in (
        "SIGUSR1",
        "SIGUSR2",
        "SIGHUP",
        "SIGQUIT",
        "SIGKILL",
        "SIGTSTP",
        "SIGSTOP",
        "SIGCONT",
        "SIGALRM",
        "setitimer",
    ):
        monkeypatch.delattr(signal, name)
    for name in ("fork", "killpg", "chown", "O_DIRECTORY"):
        monkeypatch.delattr(os, name)


@pytest.mark.usefixtures("windows")
def test_a_signal_stops_the_work(tmp_path: Path) -> None:
    assert stopping_signals() == [signal.SIGINT, signal.SIGTERM]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    synchronize(tmp_path)
    (tmp_path / "file").write_text("text")
    synchronize(tmp_path / "file")
    database.copy_owner(tmp_path / "file", tmp_path / "file")


@pytest.mark.usefixtures("windows")
def test_a_deadline_calls_its_handler_in_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    deadline = Deadline(lambda signum, frame: called.append(threading.current_thread()))
    assert deadline.install() == {}
    seen = threading.Event()

    def hear(signum: int, frame: object) -> None:
        assert deadline.take()
        assert not deadline.take(), "a second Ctrl-C is the user's"
        deadline._handler(signum, frame)
        seen.set()

    before = signal.signal(signal.SIGINT, hear)
    try:
        deadline.start(0.01)
        deadline._timer.join(30)
        assert seen.is_set()
        deadline.start(1000)
        deadline.stop()
        deadline._timer.join(30)
        assert not deadline._timer.is_alive()
    finally:
        signal.signal(signal.SIGINT, before)
    assert called == [threading.main_thread()]


@pytest.mark.slow
@pytest.mark.usefixtures("windows")
def test_commands_end_as_their_children_do() -> None:
    assert commands.run_to_its_end([sys.executable, "-c", "raise SystemExit(7)"]) == 7
    server = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
    )
    server.stdout.readline()
    commands.signal_child(server, signal.SIGINT)
    assert server.poll() is None, "the console tells it"
    stop(server)
    assert server.wait(PATIENCE) != 0
    server.stdout.close()
