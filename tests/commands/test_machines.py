"""Several machines: two network namespaces with torchrun, and the script for SLURM."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from lslm_lightning.runs.states import read_state
from tests.commands.compared_runs import only
from tests.commands.conftest import refused, wait_until
from tests.commands.test_faults import status_of
from tests.commands.test_processes import curve, same_curves
from tests.support.waiting import PATIENCE, at_most

pytestmark = pytest.mark.slow

SBATCH = Path(__file__).parents[2] / "configs/trainer/slurm.sbatch"
IP = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
STEPS = 20


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Names of two network namespaces that see each other as 10.83.0.1 and 10.83.0.2, and nothing
    else.
    """
    names = [f"lslm{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            set_up("netns", "add", name)
        set_up("link", "add", f"{names[0]}v", "type", "veth", "peer", "name", f"{names[1]}v")
        for number, name in enumerate(names, 1):
            set_up("link", "set", f"{name}v", "netns", name)
            set_up("-n", name, "address", "add", f"10.83.0.{number}/24", "dev", f"{name}v")
            set_up("-n", name, "link", "set", f"{name}v", "up")
            set_up("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names if IP else []:
            subprocess.run([IP, "netns", "delete", name], capture_output=True)


def set_up(*words: str) -> None:
    """`ip WORDS`; where that is not allowed, the test is skipped."""
    if IP is None or subprocess.run([IP, *words], capture_output=True).returncode:
        pytest.skip("needs the right to make network namespaces")


@pytest.fixture
def torchrun(
    machines, environment, project, empty_store
) -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """Start a command on both machines, one process on each; they share the disk alone."""
    shutil.copy(empty_store, project)
    started = []

    def begin(*words: object) -> list[subprocess.Popen]:
        for rank, name in enumerate(machines):
            launch = [
                "--nnodes=2",
                "--nproc-per-node=1",
                f"--node-rank={rank}",
                "--master-addr=10.83.0.1",
                "--master-port=29500",
            ]
            command = [
                IP,
                "netns",
                "exec",
                name,
                sys.executable,
                "-m",
                "torch.distributed.run",
                *launch,
                "-m",
                "lslm_lightning",
            ]
            # there is no name service to ask
            variables = environment | {"GLOO_SOCKET_IFNAME": f"{name}v"}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            command += map(str, words)
            started.append(subprocess.Popen(command, env=variables, cwd=project, **pipes))
        return started[-2:]

    yield begin
    for name in machines:
        power_off(name)
    for process in started:
        process.communicate(timeout=PATIENCE)


def power_off(name: str) -> None:
    """End all that runs on a machine at once."""
    for pid in subprocess.run(
        [IP, "netns", "pids", name], capture_output=True, text=True, check=True
    ).stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.distributed
def test_two_machines_train_what_one_does_and_survive_the_loss_of_one(
    machines, torchrun, translation, start, lslm
):
    spec = yaml.safe_load(translation.read_text())
    spec["trainer"] |= {
        "max_steps": STEPS,
        "val_check_interval": 10,
        "enable_progress_bar": False,
        "strategy": "ddp",
    }
    spec["model"]["init_args"]["backbone"]["init_args"]["dropout"] = 0.2
    translation.write_text(yaml.safe_dump(spec))
    alone = (
        "--trainer.devices=1",
        "--trainer.strategy=auto",
        "--trainer.accumulate_grad_batches=2",
        "--trainer.val_check_interval=20",
    )
    process = start(
        "-m", "lslm_lightning", "fit", "--config", translation, "--job.name=one", *alone
    )
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output

    both = torchrun(
        "run",
        "--config",
        translation,
        "--job.name=two",
        "--trainer.max_steps=100000",
        "--job.save_every_steps=5",
    )
    wait_until(lambda: len(curve_of("two-*")) >= STEPS, both[0])
    power_off(machines[1])
    with at_most(30):
        output, _ = both[0].communicate(timeout=PATIENCE)
    assert both[0].returncode, output
    assert "torchrun has started 2 processes: trainer.devices=1, trainer.num_nodes=2" in output
    run = only("two-*")
    assert f"lslm resume {run} continues from its last checkpoint" in output
    assert status_of(run) == "FAILED"

    step = read_state(run / "checkpoints/last.ckpt")["global_step"]
    same_curves(only("one-*"), run, whole=False)
    outcome = lslm("resume", run)
    refused(
        outcome,
        1,
        "trainer.num_nodes=2, but",
        "--trainer.num_nodes=1",
    )
    process = start(
        "-m",
        "lslm_lightning",
        "resume",
        run,
        f"--trainer.max_steps={step + 2}",
        "--trainer.num_nodes=1",
        *alone,
    )
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "resumes with 1 x 2" in output
    assert status_of(run) == "FINISHED"


def curve_of(pattern: str) -> dict[int, float]:
    """Return the loss that a run has logged so far; empty before it has begun."""
    return next(
        (
            curve(file.parent, "train/loss")
            for file in Path("runs").glob(f"*/{pattern}/metrics.jsonl")
        ),
        {},
    )


@pytest.fixture
def sbatch(project, environment) -> Callable[..., tuple[int, list[str]]]:
    """Run the script with stand-ins for what SLURM and we have: its status, and a line for each
    command, its words apart by |.
    """
    tools = project / "tools"
    tools.mkdir()
    say = 'IFS="|"; echo "$(basename "$0")|$*" >> said'
    for name, then in (("srun", 'shift; exec "$@"'), ("scontrol", ""), ("lslm", "exit $STATUS")):
        (tools / name).write_text(f"#!/bin/sh\n({say})\n{then}\n")
        (tools / name).chmod(0o755)

    def run(*words: str, status: int) -> tuple[int, list[str]]:
        (project / "said").unlink(missing_ok=True)
        given = {
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NAME": "big run",
            "STATUS": str(status),
            "PATH": f"{tools}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", SBATCH, *words],
            env=environment | given,
            cwd=project,
            capture_output=True,
            text=True,
        )
        assert not done.stderr
        return done.returncode, (project / "said").read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("status", "again"), [(0, False), (1, False), (143, False), (128 + signal.SIGUSR1, True)]
)
def test_slurm_queues_again_what_it_told_to_stop(status, again, sbatch, project):
    words = ("--config", "configs/a b.yaml", "--job.tags", '{"x": "y z"}')
    found, said = sbatch(*words, status=status)
    assert found == status
    own = "|".join(("lslm", "run", *words))
    assert said == [
        f"srun|--kill-on-bad-exit=1|{own}",
        own,
        *(["scontrol|requeue|77"] if again else []),
    ]
    run = project / "runs/slurm/big run-77"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("")
    _, said = sbatch(*words, status=0)
    own = "lslm|resume|runs/slurm/big run-77"
    assert said == [f"srun|--kill-on-bad-exit=1|{own}", own]
