"""How cost grows with size: points that are measured in processes of their own, and the exponent of
the power law through them.
"""

import json
import multiprocessing
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lslm_lightning.serving.idle_memory import give_back_memory
from tests.benchmarks.benchmark import Check, Figures
from tests.benchmarks.job import JobError, environment_of

TOLERANCE = 0.15  # of an exponent above that of the theory
QUICK_SECONDS = 0.3  # works that may be repeated are, until they have taken this long
SMALL_MEGABYTES = 8.0  # less counts as this much: allocators take memory in pieces
MOST_MEMORY = 8 * 10**9  # bytes of data of a process
LOOK_SECONDS = 0.1
MOST_SECONDS = 900  # of the wall, for a point
KINDS = ("time", "memory")
ONE_CORE = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Work = Callable[[], object]
Build = Callable[[int, Path], Work]
"""Makes what the work needs: build(size, an empty folder) -> work, which is measured."""


@dataclass(frozen=True)
class Series:
    """One size that grows, and the cost of the same work at each value of it.

    Args:
        what: the work, and the size after a colon.
        module: of this folder; its `BUILDS[name of the series]` makes the work.
        sizes: from the smallest on.
        time: exponent of the processor time that the work needs at least.
        memory: exponent of the memory that it needs at least; 0 where it has to be bounded.
        repeats: whether the work may be done again, so that short ones are measured exactly.
        documented: exponents, by kind, that docs/*/limits.md admits.
    """

    what: str
    module: str
    sizes: Sequence[int]
    time: float = 1
    memory: float = 1
    repeats: bool = False
    documented: Mapping[str, float] = field(default_factory=dict)


class Cost(NamedTuple):
    """Processor time of a work in seconds, and the memory that its process held at most beyond what
    it held before, with that of its workers, in MB (10^6 bytes).
    """

    seconds: float
    megabytes: float


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log(cost) over log(size) by least squares, over the upper half of the range: sizes
    from the geometric mean of the smallest and the largest on, and at least the last two.
    """
    x = np.log(np.asarray(sizes, float))
    y = np.log(np.asarray(costs, float))
    n = max(2, int((x >= (x[0] + x[-1]) / 2 - 1e-9).sum()))
    return float(np.polyfit(x[-n:], y[-n:], 1)[0])


def growth(series: Series, sizes: Sequence[int], costs: Sequence[Cost]) -> Figures:
    """Figures of a series: its points, the fitted exponents and those of the theory, and what of
    time and memory grows faster than it must.
    """
    found = {
        "time": exponent(sizes, [cost.seconds for cost in costs]),
        "memory": exponent(sizes, [max(cost.megabytes, SMALL_MEGABYTES) for cost in costs]),
    }
    theory = {"time": series.time, "memory": series.memory}
    return {
        "what": series.what,
        "sizes": list(sizes),
        "seconds": [cost.seconds for cost in costs],
        "megabytes": [cost.megabytes for cost in costs],
        "exponents": found,
        "theory": theory,
        "worse": [kind for kind in KINDS if found[kind] > theory[kind] + TOLERANCE],
    }


def checks_of(series: Series, figures: Figures) -> list[Check]:
    """Both exponents against those of the theory, or of a documented limit."""
    allowed = {**figures["theory"], **series.documented}
    return [
        Check(
            f"{figures['what']}, exponent of {kind}",
            figures["exponents"][kind],
            "<=",
            allowed[kind] + TOLERANCE,
        )
        for kind in KINDS
    ]


# In the process of a point


def measured(work: Work, repeats: bool = False) -> Cost:
    """The cost of a work in this process and its workers; the least time of works that are done
    several times.
    """
    give_back_memory()  # what was freed before, and would be used again unseen
    reset_peak()
    before = memory("VmRSS")
    seconds: list[float] = []
    with watched_workers() as of_worker:
        while not seconds or (repeats and sum(seconds) < QUICK_SECONDS):
            began = processor_seconds()
            work()
            seconds.append(processor_seconds() - began)
    added = max(0, memory("VmHWM") - before) + sum(of_worker.values())
    return Cost(min(seconds), added / 1e6)


@contextmanager
def watched_workers() -> Iterator[dict[int, int]]:
    """The most memory of each worker of `multiprocessing`, in bytes by process, looked at several
    times a second. `ru_maxrss` of a child may be that of the process that started it.
    """
    highest: dict[int, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            for process in multiprocessing.active_children():
                with suppress(OSError, ValueError):  # it has just ended
                    highest[process.pid or 0] = memory("VmHWM", process.pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield highest
    finally:
        done.set()
        thread.join()


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def reset_peak() -> None:
    """Let the highest memory of this process be what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str, process: int | None = None) -> int:
    """Bytes in a field of the status of a process, by default this one."""
    lines = Path(f"/proc/{process or 'self'}/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) * 1024


def main(builds: Mapping[str, Build], argv: Sequence[str]) -> None:
    """Measure what the arguments say: name of a series, size, folder, whether it may be
    repeated.
    """
    name, size, folder, repeats = argv
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    work = builds[name](int(size), Path(folder))
    print("\n" + json.dumps(measured(work, bool(int(repeats)))._asdict()))


# In the benchmark


def point(name: str, series: Series, size: int, folder: Path) -> Cost:
    """The cost at one size, measured in a process of its own, on one core.

    Raises:
        JobError: it failed, or took too long.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{series.module}", name, str(size)]
    try:
        found = subprocess.run(
            [*command, str(folder), str(int(series.repeats))],
            env=environment_of() | ONE_CORE,
            stdout=subprocess.PIPE,
            text=True,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise JobError(f"{name}: {size:,} took more than {MOST_SECONDS} seconds") from None
    if found.returncode:
        raise JobError(f"{name}: {size:,} ended with status {found.returncode}")
    return Cost(**json.loads(found.stdout.splitlines()[-1]))
