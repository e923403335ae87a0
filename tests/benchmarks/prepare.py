"""`lslm data prepare` on 1 GB of text: speed against one core that only encodes, memory, and a kill
on the way.
"""

import filecmp
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.data.prepared import JOURNAL, TOKENIZER, Prepared
from tests.benchmarks import zipf
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import environment_of, lslm
from tests.benchmarks.memory import peak_memory

N_FILE = 8
N_WORKER = 2


class Size(NamedTuple):
    """Bytes of text and of what the tokenizer and the speed of one core are made from, entries of
    the tokenizer, MB of text in a shard.
    """

    n_byte: int
    sample: int
    vocab_size: int
    shard_mb: float


FULL = Size(1_000_000_000, 16_000_000, 32_000, 32.0)
SMOKE = Size(2_000_000, 200_000, 500, 0.1)


def job(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Everything in one run, on the disk of runs/: MB are 10^6 bytes of UTF-8 text, seconds those
    of the wall.
    """
    size = SMOKE if smoke else FULL
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prepare-", dir="runs") as name:
        folder = Path(name)
        make_texts(folder, size)
        words = (
            "data",
            "prepare",
            str(folder / "sample.jsonl"),
            "--output",
            str(folder / "sample"),
        )
        lslm(*words, f"--vocab-size={size.vocab_size}", f"--workers={N_WORKER}")
        before = encoding_speed(folder, size, 1), encoding_speed(folder, size, N_WORKER)
        whole = undisturbed(folder, size)
        after = encoding_speed(folder, size, 1), encoding_speed(folder, size, N_WORKER)
        speeds = {"one_core": (before[0], after[0]), "both_cores": (before[1], after[1])}
        return {**speeds, **whole, **killed(folder, size)}


def make_texts(folder: Path, size: Size) -> None:
    """Files of the job in texts/, and a sample of the same language."""
    (folder / "texts").mkdir()
    with ProcessPoolExecutor(N_WORKER, get_context("spawn")) as pool:
        made = [
            pool.submit(zipf.write, folder / "texts" / f"{i}.jsonl", size.n_byte // N_FILE, i)
            for i in range(N_FILE)
        ]
        made.append(pool.submit(zipf.write, folder / "sample.jsonl", size.sample, N_FILE))
        for each in made:
            each.result()


def encoding_speed(folder: Path, size: Size, n_process: int) -> float:
    """MB/s of processes of one core each that only encode, at the same time, together."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.one_core",
        folder / "sample" / TOKENIZER,
        folder / "texts" / "0.jsonl",
    ]
    processes = [
        subprocess.Popen(
            [*command, str(size.sample)], env=environment_of(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(n_process)
    ]
    return sum(float(process.communicate()[0]) for process in processes)


def words_of(folder: Path, size: Size, output: Path) -> tuple[str, ...]:
    """The command that is measured."""
    settings = (
        f"--tokenizer={folder / 'sample' / TOKENIZER}",
        f"--workers={N_WORKER}",
        f"--shard-mb={size.shard_mb}",
    )
    return "data", "prepare", str(folder / "texts"), "--output", str(output), *settings


def undisturbed(folder: Path, size: Size) -> Figures:
    """The whole job, the start of its processes included; nobody looks at its memory, which would
    take time from it.
    """
    began = time.perf_counter()
    with started(*words_of(folder, size, folder / "whole")) as process:
        process.wait()
    seconds = time.perf_counter() - began
    shards = Prepared.open(folder / "whole").index["shards"]
    n_byte = sum(shard["n_byte"] for shard in shards)
    return {
        "megabytes": n_byte / 1e6,
        "seconds": seconds,
        "megabytes_per_second": n_byte / 1e6 / seconds,
    }


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen]:
    """`lslm WORDS` in a process group of its own, all of which is killed where it has not ended."""
    command = [sys.executable, "-m", "lslm_lightning", *words]
    process = subprocess.Popen(
        command, env=environment_of(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def killed(folder: Path, size: Size) -> Figures:
    """The same job with SIGKILL at a third, then begun again: its memory, whether it comes to the
    same files, and shards that it found.
    """
    whole = folder / "whole"
    again = folder / "again"
    words = words_of(folder, size, again)
    shards = sorted(file.name for file in whole.glob("shard-*"))
    with started(*words) as first:
        peak = peak_memory(first, enough=lambda: n_noted(again) >= len(shards) / 3)
    there = {file.name: file.stat().st_mtime_ns for file in again.glob("shard-*")}
    with started(*words) as second:
        peak = max(peak, peak_memory(second))
    _, differing, missing = filecmp.cmpfiles(
        whole, again, [*shards, "prepared.json"], shallow=False
    )
    return {
        "peak_megabytes": peak / 1e6,
        "shards": len(shards),
        "shards_kept": sum(there.get(name) == (again / name).stat().st_mtime_ns for name in shards),
        "was_killed": first.returncode == -signal.SIGKILL,
        "identical": not differing and not missing,
    }


def n_noted(output: Path) -> int:
    """Finished shards by the journal, whose first line is none."""
    journal = output / JOURNAL
    return journal.read_text("utf-8").count("\n") - 1 if journal.exists() else 0


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    found = figures["job"]
    one = statistics.fmean(found["one_core"])
    both = statistics.fmean(found["both_cores"])
    return [
        Check("MB/s of one core that only encodes", one),
        Check(f"times that by {N_WORKER} such processes at once", both / one),
        Check(f"MB/s of lslm data prepare --workers {N_WORKER}", found["megabytes_per_second"]),
        Check("times one core", found["megabytes_per_second"] / one, ">=", 1.8),
        Check("MB of memory at most, all processes", found["peak_megabytes"], "<", 1000),
        Check(
            "1 where a killed job came to the same files",
            float(found["was_killed"] and found["identical"]),
            ">=",
            1,
        ),
        Check(f"of {found['shards']} shards, not made again", found["shards_kept"]),
    ]


BENCHMARK = Benchmark(
    "lslm data prepare on 1 GB of text with 2 workers: speed, memory, a kill",
    40,
    {"job": job},
    checks,
)
