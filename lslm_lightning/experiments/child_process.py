"""Commands run in child processes, with signals passed on to them."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
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


class SignalRelay:
    """Signals of this process that are passed on to a child process.

    Attributes:
        child: the child process; None before it is started.
        received: numbers of the signals that came to stop this process.
    """

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.received: list[int] = []
        self._waiting: list[int] = []

    def pass_on(self) -> None:
        """Send the child the signals that have not been passed on yet."""
        while self.child and self._waiting:
            signal_child(self.child, self._waiting.pop(0))

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal that stops this process once the child has ended."""
        self.received.append(signum)
        self._waiting.append(signum)
        self.pass_on()

    def pause(self, signum: int, frame: FrameType | None) -> None:
        """Handle Ctrl-Z: pause the child and this process until SIGCONT."""
        self._tell_group(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # goes on from here after SIGCONT
        self._tell_group(signal.SIGCONT)

    def _tell_group(self, signum: int) -> None:
        if self.child and self.child.poll() is None:
            signal_group(self.child, signum)

    def handling(self) -> AbstractContextManager[None]:
        """Handle signals inside the context.

        Signals that are ignored stay ignored, as SIGHUP under nohup. A call from Python handles
        none, since signals are the caller's affair.
        """
        if is_call():
            return handling({})
        handlers: dict[int, Handler] = {
            getattr(signal, name): self.stop for name in STOPPING if hasattr(signal, name)
        }
        if hasattr(signal, "SIGTSTP"):
            handlers[signal.SIGTSTP] = self.pause
        heeded = {
            number: handler
            for number, handler in handlers.items()
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        return handling(heeded)


def run_to_its_end(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run `command` in a child process until it ends, and return its exit status.

    Signals that would stop this process are passed on to the child. They take effect in this
    process only after the child has ended. The child gets a process group of its own: otherwise the
    terminal would send it Ctrl-C too, and a second signal means "stop at once".

    Args:
        command: program and arguments.
        environment: environment variables of the child; None for those of this process.
    """
    relay = SignalRelay()
    own = os.environ if environment is None else environment
    with relay.handling():
        try:
            relay.child = subprocess.Popen(
                command,
                env={**own, PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
            relay.pass_on()  # what came before there was a child
            status = relay.child.wait()
        except BaseException:  # of a call from Python: a handler of the caller's raised it
            if relay.child is not None and relay.child.poll() is None:
                signal_child(relay.child, signal.SIGINT)
                relay.child.wait()
            raise
    if relay.received:
        signal.raise_signal(relay.received[0])
    return status
