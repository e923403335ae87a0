"""Tests pass on a machine that is slow and busy: none reads a clock or gives up early."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mlflow_server import EPHEMERAL, free_port
from tests.support.waiting import PATIENCE

TESTS = Path(__file__).parent
PROGRAMS = ("benchmarks", "wheel", "tutorials.py")  # which people start, and tests do not
MAY_READ_CLOCKS = {"waiting.py", "forked_commands.py", "slow_connection.py"}
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time"}
WAITING = {"wait", "communicate", "join", "run", "get", "wait_procs", "check_output", "result"}
SHORTEST = 300.0


def offences(source: str, may_read_clocks: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the line of each clock that is read, and of each wait that is shorter than
    `SHORTEST`.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        module = getattr(node.func.value, "id", "?") if isinstance(node.func, ast.Attribute) else ""
        reads = (module, name) == ("os", "times") or (
            module in ("time", "") and name.removesuffix("_ns") in CLOCKS
        )
        if reads and not may_read_clocks:
            yield node.lineno, f"reads a clock: {name}"
        given = [word.value for word in node.keywords if word.arg == "timeout"]
        if name == "wait":
            given += node.args[:1]
        for value in given if name in WAITING else ():
            number = value.value if isinstance(value, ast.Constant) else None
            if isinstance(number, int | float) and number < SHORTEST:
                yield node.lineno, f"gives up after {number} seconds"


@pytest.mark.parametrize(
    ("source", "offends"),
    [
        ("began = time.monotonic()", True),
        ("from time import perf_counter\nbegan = perf_counter()", True),
        ("began = time.time_ns()", True),
        ("os.times().children_user", True),
        ("process.communicate(timeout=60)", True),
        ("subprocess.run(command, timeout=120)", True),
        ("process.wait(30)", True),
        ("queue.get(timeout=5)", True),
        ("process.communicate(timeout=PATIENCE)", False),
        ("process.wait()", False),
        ("patch.setattr(budget, 'time', clock)", False),
        ("measure.time(text)", False),
        ("FileLock(path, timeout=0)", False),
    ],
)
def test_offences_are_found(source: str, offends: bool) -> None:
    assert bool(list(offences(source))) == offends


def test_no_test_trusts_the_clock_on_the_wall() -> None:
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        if path.relative_to(TESTS).parts[0] in PROGRAMS:
            continue
        may = path.parent == TESTS / "support" and path.name in MAY_READ_CLOCKS
        for line, offence in offences(path.read_text("utf-8"), may):
            found.append(f"{path.relative_to(TESTS)}:{line} {offence}")
    assert not found, (
        "wait for an event with tests.support.waiting.PATIENCE as the limit, give a clock as an "
        "argument, or use tests.support.waiting.at_most:\n" + "\n".join(found)
    )


@pytest.mark.slow
def test_children_can_be_interrupted_where_the_suite_runs_in_the_background() -> None:
    """A shell without job control starts background jobs with SIGINT ignored, and children inherit
    that.
    """
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    loads = f"""
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from tests.support.waiting import make_interruptible
make_interruptible()
subprocess.run([sys.executable, "-c", {code!r}], check=True)
"""
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", loads], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_a_free_port_is_none_that_a_connection_gets_by_chance() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 1
    assert not ports & set(EPHEMERAL)


def test_patience_is_the_longest_wait() -> None:
    assert PATIENCE >= SHORTEST
