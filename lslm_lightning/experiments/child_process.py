"""Commands run in child processes, with signals passed on to them."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

from lslm_lightning.experiments.invocation import PARENT, is_call
from lslm_lightning.training.signals import Handler, handling

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")  # the last two are not on Windows
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process at once by either


def follow_parent() -> bool:
    """Send SIGTERM to this process when the `lslm` process that started it has died, even if it
    died by SIGKILL.

    Returns:
        True if this process was started by another `lslm` process.
    """
    if not (parent := os.environ.pop(PARENT, None)):
        return False

    def look() -> None:
        while os.getppid() == int(parent) and (has_groups() or psutil.pid_exists(int(parent))):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()
    return True


def has_groups() -> bool:
    """Return whether this system has process groups and signals for them; Windows does not."""
    return hasattr(os, "killpg")


def signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    """Send a signal to the process group of `process`.

    On systems without process groups, the process and its children are terminated instead.
    """
    if has_groups():
        os.killpg(process.pid, signum)
        return
    with suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        for each in (*parent.children(recursive=True), parent):
            with suppress(psutil.Error):
                each.terminate()


def signal_child(child: subprocess.Popen[bytes], signum: int) -> None:
    """Pass a signal on to a child process.

    On Windows, SIGINT is not passed on, since the console sends Ctrl-C to the child itself. Any
    other signal terminates the child.
    """
    if has_groups():
        child.send_signal(signum)
    elif signum != signal.SIGINT:
        child.terminate()


def handlers_of(stop: Handler, pause: Handler) -> dict[int, Handler]:
    """Return handlers of the signals that stop or pause a process, without those that are ignored,
    as SIGHUP under nohup.
    """
    handlers = {getattr(signal, name): stop for name in STOPPING if hasattr(signal, name)}
    if hasattr(signal, "SIGTSTP"):
        handlers[signal.SIGTSTP] = pause
    return {
        number: handler
        for number, handler in handlers.items()
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }


def run_to_its_end(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run `command` in a child process until it ends, and return its exit status.

    Signals that would stop this process are passed on to the child. They take effect in this
    process only after the child has ended. The child gets a process group of its own: otherwise the
    terminal would send it Ctrl-C too, and a second signal means "stop at once".

    Args:
        command: program and arguments.
        environment: environment variables of the child; None for those of this process.
    """
    child: subprocess.Popen[bytes] | None = None
    received: list[int] = []
    waiting: list[int] = []

    def pass_on(*_: object) -> None:
        while child and waiting:
            signal_child(child, waiting.pop(0))

    def stop(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        waiting.append(signum)
        pass_on()

    def pause(signum: int, frame: FrameType | None) -> None:
        tell_group(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # goes on from here after SIGCONT
        tell_group(signal.SIGCONT)

    def tell_group(signum: int) -> None:
        if child and child.poll() is None:
            signal_group(child, signum)

    environment = {**(os.environ if environment is None else environment), PARENT: str(os.getpid())}
    with handling({} if is_call() else handlers_of(stop, pause)):
        try:
            child = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, process_group=0
            )
            pass_on()  # what came before there was a child
            status = child.wait()
        except BaseException:  # of a call from Python: a handler of the caller's raised it
            if child is not None and child.poll() is None:
                signal_child(child, signal.SIGINT)
                child.wait()
            raise
    if received:
        signal.raise_signal(received[0])
    return status
