"""Progress on a terminal, in a log file and in a notebook."""

import os
import re
import sys

import pytest

from lslm_lightning.training.display import Display, can_redraw
from lslm_lightning.training.work import TrainingWork, Work
from tests.training.test_status_line import Clock, training

ESCAPE = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal that the standard streams write to."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the standard streams write to it: within a test, since pytest sets them anew before
        one.
        """
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, self.stream)

    def read(self) -> str:
        """Return what was written."""
        self.stream.flush()
        os.set_blocking(self.master, False)
        found = b""
        try:
            while block := os.read(self.master, 65536):
                found += block
        except BlockingIOError:
            pass
        return found.decode()


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """A terminal, and an environment that says nothing else."""
    terminal = Terminal()
    for name in ("JPY_PARENT_PID", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield terminal
    terminal.stream.close()
    os.close(terminal.master)


@pytest.mark.parametrize("columns", [20, 80, 120])
def test_a_terminal_has_a_line_that_is_redrawn(columns, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal.connect(monkeypatch)
    display = Display()
    work = training(Clock())
    test = Work("test batch", 9)
    assert display.is_live
    display.show(work, lasting=True)
    with display.showing(test):
        test.update(4)
        display._progress.refresh()
        shown = [ESCAPE.sub("", row).strip() for row in terminal.read().splitlines()]
    assert any(row.startswith("4/9" if columns == 20 else "test batch 4/9") for row in shown)
    work.update(12_345)
    display._progress.refresh()
    display.end(work)
    written = terminal.read()
    shown = [row.strip() for row in ESCAPE.sub("", written).splitlines() if row.strip()]
    assert max(map(len, shown)) <= columns - 3
    assert shown[-1].startswith(work.line(columns - 3)[:12]), "the last state of a training stays"
    assert "test batch" not in shown[-1]
    assert written.endswith("\x1b[?25h"), "the cursor is there again"


def test_a_test_leaves_nothing_on_the_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal.connect(monkeypatch)
    display = Display()
    assert list(display.each("baseline copy:", iter("abc"), 3)) == ["a", "b", "c"]
    assert "\x1b[2K" in terminal.read(), "the line is erased"
    assert display._progress is None


def no_terminal(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", (tmp_path / "log").open("w"))


def in_a_notebook(monkeypatch, tmp_path):
    monkeypatch.setenv("JPY_PARENT_PID", "1")


def on_a_dumb_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "dumb")


def forced(monkeypatch, tmp_path):
    no_terminal(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")


@pytest.mark.parametrize("where", [no_terminal, in_a_notebook, on_a_dumb_terminal, forced])
def test_elsewhere_there_are_plain_lines_now_and_then(where, terminal, monkeypatch, tmp_path):
    terminal.connect(monkeypatch)
    where(monkeypatch, tmp_path)
    clock = Clock()
    display = Display(clock=clock)
    work = TrainingWork(0, 1000, clock=clock)
    assert not display.is_live
    display.show(work, lasting=True)
    for step in range(1, 1001):
        clock.seconds += 3.6
        work.update(step)
        work.loss = 5.0
        work.tokens_per_second = 1000.0
        display.tell(work)
    sys.stdout.flush()
    lines = (
        (tmp_path / "log").read_text() if sys.stdout is not terminal.stream else terminal.read()
    ).splitlines()
    assert lines[0] == "step 0/1,000  0:00 elapsed"
    assert lines[1] == "step 5/1,000  0:18 elapsed  59:42 left  loss 5.000  1,000 tokens/s"
    assert 60 < len(lines) < 150, "an hour is read in a minute"
    assert not any("\x1b" in line or "\r" in line or not line.isascii() for line in lines)


def test_progress_of_an_evaluation_goes_to_standard_error(terminal, monkeypatch, tmp_path):
    terminal.connect(monkeypatch)
    no_terminal(monkeypatch, tmp_path)
    assert can_redraw("stderr")
    assert not can_redraw("stdout")
    with Display(output="stderr").showing(Work("system 1 of 2, copy:", 9)):
        print("a line of the result", flush=True)
    assert (tmp_path / "log").read_text() == "a line of the result\n"
    assert "a line" not in terminal.read()


def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    display = Display(shown=False)
    work = Work("test batch", 3)
    display.show(work, lasting=True)
    work.update(1)
    display.tell(work)
    display.print(work)
    display.close()
    assert capsys.readouterr() == ("", "")
