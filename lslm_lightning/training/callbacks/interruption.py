"""Clean stop of a training on Ctrl-C, SIGTERM or SIGHUP: finish the step, save, stop."""
# mypy: disable-error-code="override"
# (hooks of our callbacks are called with our Task)

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.distributed.collectives import LargestOfRanks
from lslm_lightning.training.lightning_internals import is_accumulating, validates_next
from lslm_lightning.training.signals import (
    Handler,
    Interrupted,
    leave_lost_terminal,
    stopping_signals,
)
from lslm_lightning.training.task import Task

STOP_SECONDS = 60.0  # SLURM is told to give two minutes


class Deadline:
    """Timer that calls a signal handler in the main thread.

    On Windows, which has no SIGALRM, a thread raises SIGINT instead. The handler of SIGINT calls
    `take` to tell the timer from Ctrl-C.

    Args:
        handler: signal handler to call when the time is over.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._timer: threading.Timer | None = None
        self._is_over = False

    def install(self) -> dict[int, Handler]:
        """Set the handler of SIGALRM. Return the handler that was set before, by signal number;
        nothing on Windows.
        """
        if not hasattr(signal, "SIGALRM"):
            return {}
        return {signal.SIGALRM: signal.signal(signal.SIGALRM, self._handler)}

    def start(self, seconds: float) -> None:
        """Start the timer, which calls the handler after `seconds`."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)
            return
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Stop the timer."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif self._timer is not None:
            self._timer.cancel()

    def take(self) -> bool:
        """Return whether the last SIGINT came from this timer. The answer is then reset, so that
        the next SIGINT counts as the user's.
        """
        is_over = self._is_over
        self._is_over = False
        return is_over

    def _end(self) -> None:
        self._is_over = True
        _thread.interrupt_main(signal.SIGINT)


class Interruption(Callback):
    """Callback that turns `stopping_signals` during `fit` into a clean stop: all ranks save
    `last.ckpt` at the same step, from which the run resumes exactly.

    Training stops at the end of an optimizer step (of the next one on several GPUs) or, if a
    validation is due, after the validation. A validation that takes longer than `STOP_SECONDS` is
    aborted, and the checkpoint saved before it is kept; a save is always finished. A second signal
    stops at once. If a save is due without a signal, all ranks save and continue.

    Args:
        checkpoints: callback that saves, and knows when a save is due.
        handles_signals: False to leave signals to the caller, and only save when a save is due.
    """

    def __init__(self, checkpoints: Checkpoints, handles_signals: bool = True) -> None:
        self.checkpoints = checkpoints
        self.handles_signals = handles_signals
        self.received = 0
        self._largest = LargestOfRanks()
        self._before: dict[int, Handler] = {}
        self._deadline = Deadline(self._give_up)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        leave_lost_terminal(signum)
        if self._deadline.take():
            self._give_up(signum, frame)
            return
        if self.received:
            raise Interrupted(signum)
        self.received = signum
        self._deadline.start(STOP_SECONDS)
        message = (
            f"{signal.Signals(signum).name}: saving and stopping after this step, within "
            f"{STOP_SECONDS:g} seconds (repeat it to stop at once)"
        )
        print(message, file=sys.stderr, flush=True)

    def _give_up(self, signum: int, frame: FrameType | None) -> None:
        if self.checkpoints.is_saving:  # it is always finished
            return
        last = self.checkpoints.last
        kept = f"kept {last}" if last.exists() else "nothing was saved yet"
        name = signal.Signals(self.received).name
        raise Interrupted(
            self.received,
            f"interrupted by {name}; no step ended in {STOP_SECONDS:g} seconds; {kept}",
        )

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if not self.handles_signals:
            return
        self._before = {number: signal.signal(number, self._note) for number in stopping_signals()}
        self._before |= self._deadline.install()

    def on_train_batch_start(self, trainer: Trainer, task: Task, *args: object) -> None:
        # a validation was due, and was followed by a save
        if trainer.global_step and trainer.global_step == self.checkpoints.validated_step:
            self._stop_if_asked(trainer)

    def on_train_batch_end(self, trainer: Trainer, task: Task, *args: object) -> None:
        if not is_accumulating(trainer) and not validates_next(trainer):
            self._stop_if_asked(trainer, save=True)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._restore()
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer, save: bool = False) -> None:
        # the signal may reach any rank, and clocks differ
        wish = 2 * self.received + self.checkpoints.is_late
        if trainer.world_size > 1:
            wish = self._largest(wish, trainer.strategy.root_device, at_once=not save)
        received = wish // 2
        if save and (wish or self.checkpoints.is_due(trainer)):
            self.checkpoints.save(trainer)
            self._largest.forget()  # requests from before this save
        if not received:
            return
        name = signal.Signals(received).name
        raise Interrupted(
            received,
            f"interrupted by {name} at step {trainer.global_step}; kept {self.checkpoints.last}",
            together=True,
        )

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._before:
            self._deadline.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
