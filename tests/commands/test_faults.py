"""Faults of the world around a run, made for real: a disk that is full or read-only, a server that
hangs, two runs on one store.
"""

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from lightning.pytorch import Trainer
from mlflow import MlflowClient

from lslm_lightning.runs.integrity import damage
from tests.commands.compared_runs import config_of, delivered, only, same_run
from tests.commands.conftest import refused, wait_until
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture
def config(translation):
    """`kind` -> a config; see `config_of`."""
    return partial(config_of, tiny=translation)


@pytest.fixture
def disk(project):
    """A file system of one MB, in memory."""
    folder = project / "disk"
    folder.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes."""
    there = os.statvfs(disk)
    file = disk / "else"
    file.write_bytes(bytes(max(0, there.f_bavail * there.f_frsize - left)))
    return file


def status_of(run: Path, store: str | None = None) -> str:
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    return (
        MlflowClient(store or f"sqlite:///{Path('mlflow.db').absolute()}")
        .get_run(run_id)
        .info.status
    )


@pytest.mark.parametrize("left", [60_000, 250_000], ids=["at once", "later"])
def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(left, disk, lslm, config, project):
    path = config("windows")
    assert lslm("run", "--config", path, "--job.name=straight").status == 0
    file = fill(disk, left)
    refused(
        lslm("run", "--config", path, "--job.name=full", f"--job.root={disk}"),
        1,
        "No space left on device",
    )
    [run] = disk.glob("*/full-*")
    assert status_of(run) == "FAILED"
    states = [
        state for state in (run / "checkpoints").glob("*.ckpt") if not state.name.startswith(".")
    ]
    assert bool(states) == (left > 100_000)
    assert not any(map(damage, states))
    file.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    outcome = lslm("resume", run)
    assert outcome.status == 0, outcome.err
    same_run(only("straight-*"), run)


def test_a_disk_that_cannot_be_written_is_one_line_and_is_left_as_it_is(disk, lslm, config):
    path = config("windows")
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    assert lslm("run", "--config", path, f"--job.root={disk}", "--job.name=kept").status == 0
    [run] = disk.glob("*/kept-*")
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Trainer, "fit", lambda *_, **__: pytest.fail("it is noticed before anything is trained")
        )
        refused(lslm("run", "--config", path, f"--job.root={disk}"), 1, "Read-only file system")
        refused(lslm("resume", run, "--trainer.max_steps=40"), 1, "Read-only file system")
    assert status_of(run) == "FINISHED"
    assert kept == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def test_a_server_that_hangs_for_seconds_costs_no_point(server, start, config):
    """Its processes are stopped, and go on later; the run does not wait for them."""
    process = start(
        "-m",
        "lslm_lightning",
        "fit",
        "--config",
        config("pairs"),
        "--trainer.max_steps=200",
        MLFLOW_TRACKING_URI=server,
    )
    wait_until(lambda: list(Path("runs").glob("*/*/checkpoints/last.ckpt")), process)
    stopped = [p for p in psutil.process_iter() if server.rpartition(":")[2] in words_of(p)]
    stopped += [child for p in stopped for child in p.children(recursive=True)]
    assert stopped
    [run] = Path("runs").glob("*/*")
    try:
        signal_all(stopped, signal.SIGSTOP)
        before = n_step(run)
        wait_until(lambda: n_step(run) > before or before == 200, process)  # training goes on
    finally:
        signal_all(stopped, signal.SIGCONT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    counted(run, server)


def counted(run: Path, store: str) -> None:
    """Every point that the run has on disk is in MLflow, once, and no other."""
    found = delivered(run, store)
    assert found["points"]
    assert found["missing"] == found["doubled"] == 0
    assert status_of(run, store) == "FINISHED"


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def n_step(run: Path) -> int:
    """Return the last training step in the curves."""
    return max(
        (json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()),
        default=0,
    )


def test_two_runs_at_once_on_one_file_lose_nothing(start, config):
    words = (
        "-m",
        "lslm_lightning",
        "fit",
        "--config",
        config("pairs"),
        "--trainer.log_every_n_steps=1",
        "--trainer.max_steps=60",
    )
    for process in [start(*words, f"--job.name={name}") for name in ("left", "right")]:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
    for name in ("left", "right"):
        counted(only(f"{name}-*"), f"sqlite:///{Path('mlflow.db').absolute()}")
