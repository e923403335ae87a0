"""Exit statuses of commands, and the one-line messages for failures."""

import _thread
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lslm_lightning.exit_status import DONE, FAILED, INTERRUPTED, WRONG_ARGUMENTS, SettingsError
from lslm_lightning.experiments.endings import is_stop, one_line
from lslm_lightning.safety.log import show_log
from lslm_lightning.training.signals import stop_at_once

AGAIN_SECONDS = 0.05  # from a stop that was dropped to the next try


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM inside the body of the `with` statement, unless SIGTERM has a
    handler already.

    If Python drops the exception, as it does in a destructor, the signal is sent again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook
    handler = signal.getsignal(signal.SIGTERM)

    def come_again(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_value is None or not is_stop(dropped.exc_value):
            hook(dropped)
            return
        number = getattr(dropped.exc_value, "signum", signal.SIGINT)
        again = threading.Timer(AGAIN_SECONDS, signal_main_thread, (number,))
        again.daemon = True
        again.start()  # at once, it would be dropped within this very hook

    sys.unraisablehook = come_again
    if handler == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop_at_once)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if handler == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, handler)


def signal_main_thread(number: int) -> None:
    """Send a signal to the main thread, waking it up if it is waiting. On Windows it cannot be
    woken up.

    Args:
        number: signal number.
    """
    if hasattr(signal, "pthread_kill"):
        thread = threading.main_thread().ident
        assert thread is not None
        signal.pthread_kill(thread, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def exit_status_of(work: Callable[[], int], debug: bool = False) -> int:
    """Run `work` and return its exit status; print an error as one line on standard error.

    Args:
        debug: print the traceback as well.
    """
    show_log()
    try:
        with terminable():
            return work() or DONE
    except SettingsError as error:
        if debug:
            traceback.print_exc()
        print(f"lslm: {error.message}", file=sys.stderr)
        return WRONG_ARGUMENTS
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else DONE if error.code is None else FAILED
    except KeyboardInterrupt as error:
        _say_stopped("interrupted", error)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"lslm: {one_line(error)}", file=sys.stderr)
        return FAILED
    except BaseException as error:
        if not hasattr(error, "signum"):
            raise
        _say_stopped(one_line(error).removeprefix("Interrupted: "), error)
        return 128 + error.signum


def _say_stopped(message: str, error: BaseException) -> None:
    """Print that the command was stopped, and how to continue.

    Args:
        message: text that says what stopped it.
        error: exception, which may have a suggestion attached.
    """
    print(f"lslm: {message}", file=sys.stderr)
    if line := getattr(error, "suggestion", None):
        print(line, file=sys.stderr, flush=True)
