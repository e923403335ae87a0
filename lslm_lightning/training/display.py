"""Progress display: lines that are redrawn on a terminal, and printed now and then elsewhere."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from lslm_lightning.safety.terminal import console, progress
from lslm_lightning.training.status_line import ASCII_BAR, UNICODE_BAR
from lslm_lightning.training.work import Clock, Work

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID
    from rich.progress import Task as Row

FIRST_SECONDS = 5.0
LINE_EVERY_SECONDS = 15.0
LINE_EVERY_AT_MOST = 300.0
LINE_EVERY_SHARE = 0.02  # of the time that has passed: long work prints fewer lines
T = TypeVar("T")


def line_interval(elapsed: float) -> float:
    """Return the seconds to wait for the next printed line, after `elapsed` seconds of work."""
    return min(LINE_EVERY_AT_MOST, max(LINE_EVERY_SECONDS, LINE_EVERY_SHARE * elapsed))


class Display:
    """Shows the progress of one or several pieces of work.

    On a terminal, each piece of work has a line that is redrawn twice a second. In a log file, a
    pipe or a notebook, lines are printed at intervals, the first after `FIRST_SECONDS`; short work
    prints none.

    Args:
        shown: False to show nothing.
        output: stream for printed lines. With "stdout", lines are redrawn only if standard output
            and standard error both are a terminal, so that a log file gets all lines.
        clock: returns seconds since a fixed moment.
    """

    def __init__(
        self,
        shown: bool = True,
        output: Literal["stdout", "stderr"] = "stdout",
        clock: Clock = time.monotonic,
    ) -> None:
        self.shown = shown
        self.output = output
        self.clock = clock
        self.is_live = shown and can_redraw(output)
        self._progress: Progress | None = None
        self._rows: dict[Work, TaskID] = {}  # lines on the terminal
        self._due: dict[Work, float] = {}  # when to print the next line

    def show(self, work: Work, lasting: bool = False) -> None:
        """Start to show a piece of work.

        Args:
            lasting: print the first line at once; on a terminal, leave the last line on the screen.
        """
        if not self.shown:
            return
        if self.is_live:
            if self._progress is None:
                self._progress = new_progress()
                self._progress.start()
            if lasting:
                self._progress.live.transient = False
            self._rows[work] = self._progress.add_task("", total=None, work=work)
            return
        self._due[work] = self.clock() + FIRST_SECONDS
        if lasting:
            self.print(work)

    def tell(self, work: Work) -> None:
        """Print the line of a piece of work if its interval has passed. On a terminal, lines are
        redrawn without this call, and nothing is printed.
        """
        if work in self._due and work.done != work.total and self.clock() >= self._due[work]:
            self.print(work)

    def print(self, work: Work) -> None:
        """Print the line of a piece of work now. On a terminal, nothing is printed."""
        if self.shown and not self.is_live:
            now = self.clock()
            self._due[work] = now + line_interval(work.elapsed)
            print(work.line(), file=getattr(sys, self.output), flush=True)

    def end(self, work: Work | None) -> None:
        """Stop showing a piece of work."""
        if work is None:
            return
        self._due.pop(work, None)
        row = self._rows.pop(work, None)
        if row is None or self._progress is None:
            return
        if self._rows:
            self._progress.remove_task(row)
            return
        self._progress.stop()
        self._progress = None

    def close(self) -> None:
        """Stop showing all pieces of work."""
        for work in list(reversed({**self._rows, **self._due})):
            self.end(work)

    @contextmanager
    def showing(self, work: Work) -> Iterator[Work]:
        """Show a piece of work inside the context."""
        self.show(work)
        try:
            yield work
        finally:
            self.end(work)

    def each(self, what: str, items: Iterable[T], total: int | None, unit: str = "") -> Iterator[T]:
        """Yield the items, and show how many are done.

        Args:
            what: text before the numbers, such as "test batch".
            items: the items.
            total: number of items; None if unknown.
            unit: text after the numbers, such as "MB".
        """
        with self.showing(Work(what, total, unit, clock=self.clock)) as work:
            for done, item in enumerate(items, 1):
                yield item
                work.update(done)
                self.tell(work)


def can_redraw(output: Literal["stdout", "stderr"]) -> bool:
    """Return whether lines can be redrawn in place. They can on a terminal, but not in a notebook
    cell (`!lslm ...`), which only looks like a terminal.

    Args:
        output: stream for printed lines; see `Display`.
    """
    streams = (sys.stdout, sys.stderr) if output == "stdout" else (sys.stderr,)
    if "JPY_PARENT_PID" in os.environ or not all(stream.isatty() for stream in streams):
        return False
    drawn = console(stderr=True)
    return drawn.is_terminal and not drawn.is_dumb_terminal


def new_progress() -> "Progress":
    """Return a rich progress display on standard error, with one line for each piece of work."""
    shown = progress(line_column(), output=console(stderr=True))
    shown.live.transient = True
    return shown


def line_column() -> "ProgressColumn":
    """Return the only column of the progress display: the line of a `Work`, as wide as the
    terminal.
    """
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    output = console(stderr=True)

    class LineColumn(ProgressColumn):
        def render(self, task: "Row") -> Text:
            style = ASCII_BAR if output.options.ascii_only else UNICODE_BAR
            width = output.width - len("^C") - 1  # room for the ^C that the terminal prints
            return Text(task.fields["work"].line(width, style), no_wrap=True, overflow="crop")

    return LineColumn(Column(no_wrap=True, overflow="crop"))
