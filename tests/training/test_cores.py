"""How many cores a process may use, by files that a kernel would show."""

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lslm_lightning.commands import generate
from lslm_lightning.experiments import evaluating, parallel_predictions
from lslm_lightning.experiments.parallel_predictions import threads
from lslm_lightning.runs import FoundRun, RunDirectory
from lslm_lightning.training import cores
from lslm_lightning.training.cores import available_cores, limit_threads

HERE = 8


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a file system, of a machine that lets this process run on eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(HERE)), raising=False)
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


V1 = "4:memory:/m\n3:cpu,cpuacct:/docker/ab"
FILES = {
    "no control groups": ({}, HERE),
    "no limit": (
        {"proc/self/cgroup": "0::/user", "sys/fs/cgroup/user/cpu.max": "max 100000"},
        HERE,
    ),
    "a limit of its own": (
        {"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "200000 100000"},
        2,
    ),
    "a part of a core": (
        {"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "50000 100000"},
        1,
    ),
    "one and a half": (
        {"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "150000 100000"},
        2,
    ),
    "of the group around it": (
        {"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "300000 100000"},
        3,
    ),
    "the smaller of two": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/cpu.max": "100000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
        },
        1,
    ),
    "a container with the host's path": (
        {"proc/self/cgroup": "0::/host/x", "sys/fs/cgroup/cpu.max": "400000 100000"},
        4,
    ),
    "above the machine": (
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"},
        HERE,
    ),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000",
        },
        3,
    ),
    "version 1 in a container": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        2,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        HERE,
    ),
    "version 1, of the memory": (
        {"proc/self/cgroup": V1, "sys/fs/cgroup/memory/m/cpu.max": "1 100"},
        HERE,
    ),
    "files of another kernel": (
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "lots"},
        HERE,
    ),
}


@pytest.mark.parametrize(("files", "n"), FILES.values(), ids=FILES)
def test_limits_of_control_groups_count(machine, files, n):
    write(machine, files)
    assert available_cores(machine) == n


@pytest.mark.parametrize(
    ("given", "there", "n_process", "used", "told"),
    [
        (None, 2, 1, 2, True),
        (None, 2, 2, 1, True),
        (None, 1, 4, 1, True),
        (None, 4, 1, 4, False),
        (None, 4, 2, 2, False),
        ("3", 2, 1, 4, False),
    ],
)
def test_threads_are_no_more_than_cores_unless_the_user_says_so(
    monkeypatch, given, there, n_process, used, told
):
    n_thread = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_thread[-1])
    monkeypatch.setattr(torch, "set_num_threads", n_thread.append)
    monkeypatch.setattr(cores, "available_cores", lambda: there)
    monkeypatch.setenv(cores.THREADS, given or "")
    assert bool(limit_threads(n_process)) == told
    assert n_thread[-1] == used
    assert os.environ[cores.THREADS] == (given or ("" if used == 4 else str(used))), (
        "processes that this one starts do alike"
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_processes_that_share_an_evaluation_share_the_cores(monkeypatch, n):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(parallel_predictions, "available_cores", lambda: 4)
    assert threads(n) == {cores.THREADS: str(4 // n)}


def test_commands_that_answer_limit_their_threads_too(monkeypatch, capsys):
    monkeypatch.setattr(cores, "limit_threads", lambda: "threads: 2 in place of 64")
    found = FoundRun(RunDirectory(Path("nowhere")))
    monkeypatch.setattr("lslm_lightning.commands.named_run.find_run", lambda run: found)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        generate.main(["generate", "nowhere", "a text"])
    assert capsys.readouterr().err == "threads: 2 in place of 64\n"
    evaluation = SimpleNamespace(
        tell=lambda: None,
        predictions=SimpleNamespace(exclusive=nullcontext),
        run=lambda command, began: None,
    )
    monkeypatch.setattr("lslm_lightning.experiments.evaluation.Evaluation", lambda *_: evaluation)
    evaluating.run_evaluation(None, Path())
    assert capsys.readouterr().err == "threads: 2 in place of 64\n"
