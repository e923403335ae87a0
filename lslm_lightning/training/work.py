"""Progress of a piece of work: units done, time elapsed and time left."""

import math
import time
from collections import deque
from collections.abc import Callable

from lslm_lightning.contracts import metric_label
from lslm_lightning.localization import MESSAGES, translated
from lslm_lightning.training.status_line import (
    ASCII_BAR,
    BarStyle,
    Part,
    clock_time,
    fit_line,
    short_count,
)

Clock = Callable[[], float]
WINDOW_SECONDS = 300.0  # the time left is estimated by the speed in so many last seconds


class Work:
    """Progress of a piece of work, counted in units, and its status line.

    Args:
        what: text before the numbers: "test batch" makes "test batch 3/9".
        total: number of units; None if unknown.
        unit: text after the numbers: "MB" makes "3/9 MB".
        start: number of units that were done before this work began, such as the steps before a
            resumed training; the speed leaves them out.
        clock: returns seconds since a fixed moment.
    """

    def __init__(
        self,
        what: str,
        total: float | None,
        unit: str = "",
        start: float = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.clock = clock
        self.done = self.start = start
        self.began = self._updated = clock()

    def update(self, done: float) -> None:
        """Set the number of units done by now, which may be a fraction."""
        self.done = done
        self._updated = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self.clock() - self.began

    def left(self) -> float | None:
        """Return the estimated seconds until the work is done; None if unknown."""
        new = self.done - self.start
        if self.total is None or new <= 0 or self.done > self.total:
            return None
        rest = (self._updated - self.began) / new * (self.total - self.done)
        return max(0.0, rest - (self.clock() - self._updated))

    def head(self) -> Part:
        """Return the first part of the status line, such as "test batch 3/9". If a unit is partly
        done, its percentage follows: "test batch 4/9 at 50%".
        """
        number = int(self.done)
        share = self.done % 1
        unit = f" {translated(self.unit, MESSAGES)}" if self.unit else ""
        if self.total is None:
            counted = f"{number:,}{unit}" if number else ""
        elif share and not unit:
            counted = f"{number + 1:,}/{round(self.total):,} at {share:.0%}"
        else:
            counted = f"{number:,}/{round(self.total):,}{unit}"
        what = translated(self.what, MESSAGES)
        counted = translated(counted, MESSAGES)
        return Part((f"{what} {counted}".strip(), counted or what), (4,))

    def times(self) -> list[Part]:
        """Return the parts of the status line with the time elapsed and, if known, the
        time left.
        """
        spent = clock_time(self.elapsed)
        parts = [Part((f"{spent} elapsed", spent, ""), (6, 2))]
        if (left := self.left()) is not None:
            parts.append(Part((f"{clock_time(left)} left",)))
        return parts

    def parts(self) -> list[Part]:
        """Return the parts of the status line, in order."""
        return [self.head(), *self.times()]

    @property
    def share(self) -> float | None:
        """Share of the units that is done, from 0 to 1; None if the total is unknown."""
        return self.done / self.total if self.total else None

    def line(self, width: int | None = None, style: BarStyle = ASCII_BAR) -> str:
        """Return the status line with a progress bar, cut to `width` columns. If `width` is None,
        the line is complete and has no bar.
        """
        return fit_line(self.parts(), width, self.share, style)


class TrainingWork(Work):
    """Progress of optimizer steps, and of the validations between them.

    The time left is estimated from the speed of the steps in the last minutes, without the slower
    first step, and from the mean time of the validations so far.

    Args:
        start: number of steps that a resumed training did before; 0 for a new one.
        total: number of steps of the whole training; None if unknown.
        steps_per_validation: number of steps between two validations; infinite without validations.
        clock: returns seconds since a fixed moment.
        what: text before the numbers, such as "step".
    """

    def __init__(
        self,
        start: int,
        total: int | None,
        steps_per_validation: float = math.inf,
        clock: Clock = time.monotonic,
        what: str = "step",
    ) -> None:
        super().__init__(what, total, start=start, clock=clock)
        self.steps_per_validation = steps_per_validation
        self.loss: float | None = None
        self.tokens_per_second: float | None = None
        self.scores: dict[str, float] = {}  # of the last validation, the most important first
        self.deadline: float | None = None  # time by the clock at which training ends at the latest
        self._samples = deque([(0.0, float(start))])  # seconds of training, and steps done by then
        self._first_step_seconds: float | None = None
        self._validation_began: float | None = None
        self._validation_seconds = 0.0
        self._n_validation = 0

    @property
    def _train_seconds(self) -> float:
        """Seconds of training until the last update, validations left out."""
        return self._updated - self.began - self._validation_seconds

    def update(self, done: float) -> None:
        """Set the number of steps done. Micro-batches of an unfinished step count as a fraction."""
        super().update(done)
        seconds = self._train_seconds
        samples = self._samples
        if self._first_step_seconds is None:
            if done >= self.start + 1:
                self._first_step_seconds = seconds / (done - self.start)
                samples[0] = (seconds, done)
        elif seconds - samples[-1][0] >= 1.0:
            samples.append((seconds, done))
            while len(samples) > 2 and samples[1][0] < seconds - WINDOW_SECONDS:
                samples.popleft()

    def begin_validation(self) -> None:
        """Record that a validation begins. Its time is excluded from the time of the steps."""
        self._validation_began = self.clock()

    def end_validation(self) -> None:
        """Record that the validation has ended."""
        if self._validation_began is not None:
            self._updated = self.clock()
            self._validation_seconds += self._updated - self._validation_began
            self._n_validation += 1
            self._validation_began = None

    @property
    def step_seconds(self) -> float | None:
        """Mean seconds of a step in the last minutes; None before the first step."""
        seconds, done = self._samples[0]
        if self.done > done:
            return (self._train_seconds - seconds) / (self.done - done)
        return self._first_step_seconds

    def left(self) -> float | None:
        """Return the estimated seconds until training ends, by the last step or the deadline,
        whichever comes first; None if unknown.
        """
        seconds = self._work_left()
        if self.deadline is None:
            return seconds
        until = max(0.0, self.deadline - self.clock())
        return until if seconds is None else min(seconds, until)

    def _work_left(self) -> float | None:
        """Return the estimated seconds for the remaining steps and validations; None if unknown."""
        if self.total is None or self.step_seconds is None or self.done > self.total:
            return None
        steps = self.step_seconds * (self.total - self.done)
        each = self._validation_seconds / self._n_validation if self._n_validation else 0.0
        validations = each * self._validations_left()
        if self._validation_began is not None:
            current = self.clock() - self._validation_began
            return steps + validations + max(0.0, each - current)
        return max(0.0, steps + validations - (self.clock() - self._updated))

    def _validations_left(self) -> int:
        every = self.steps_per_validation
        if not math.isfinite(every) or self.total is None:
            return 0
        return max(0, int(self.total / every + 1e-9) - int(self.done / every + 1e-9))

    def head(self) -> Part:
        """Return the first part of the status line, the number of steps, such as "step 30/100"."""
        of = "" if self.total is None else f"/{round(self.total):,}"
        counted = f"{int(self.done):,}{of}"
        return Part((f"{translated(self.what, MESSAGES)} {counted}", counted), (4,))

    def parts(self) -> list[Part]:
        """Return the parts of the status line: steps, times, loss, speed, and the scores of the
        last validation.
        """
        parts = [self.head(), *self.times()]
        if self.loss is not None:
            parts.append(Part((f"loss {self.loss:.3f}", ""), (1,)))
        if (speed := self.tokens_per_second) is not None:
            short = f"{short_count(speed)} tok/s"
            parts.append(Part((f"{speed:,.0f} tokens/s", short, ""), (5, 3)))
        for i, (name, value) in enumerate(self.scores.items()):
            parts.append(Part((f"{metric_label(name)} {value:.3f}", ""), (10 + i,)))
        return parts
