"""One training by several processes: the same numbers, states that any number of them can go on
from, and losses that are told.
"""

import json
import shutil
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from lslm_lightning.experiments.resume_proof import differences
from lslm_lightning.runs import load_run
from lslm_lightning.runs.checkpoint_folder import read_parts
from lslm_lightning.runs.states import CHECKSUMS, META, read_state
from lslm_lightning.systems.checkpoint import Checkpoint
from tasks.translation.data import TranslationData
from tests.commands.conftest import refused, wait_until
from tests.commands.test_train import runs
from tests.support.waiting import PATIENCE, at_most

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

STEPS = 24
ROOT = Path(__file__).parents[2]
SHARDED, TENSOR = (
    ("--config", ROOT / f"configs/trainer/{name}.yaml") for name in ("fsdp", "fsdp_tp")
)
ONE = (
    "--trainer.devices=1",
    "--trainer.accumulate_grad_batches=2",
    "--trainer.val_check_interval=20",
)
LAYOUTS = {
    "one": ONE,
    "ddp": ("--trainer.strategy=ddp",),
    "fsdp": SHARDED,
    "tensor": (*TENSOR, *ONE[1:]),
}


@pytest.fixture
def config(translation, project):
    """Dropout, ragged batches, clipping, averaging, a validation that decodes unlike numbers of
    sentences on each rank.
    """
    spec = yaml.safe_load(translation.read_text())
    spec["trainer"] |= {
        "max_steps": STEPS,
        "val_check_interval": 10,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
    }
    spec["trainer"]["gradient_clip_val"] = 0.5
    spec["model"]["init_args"]["backbone"]["init_args"]["dropout"] = 0.2
    spec["data"]["init_args"]["n_validation_example"] = 5
    spec["job"] = {"average": 2, "save_every_minutes": None}
    path = project / "spread.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def ended(processes) -> None:
    """All of them, well."""
    for process in processes:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output


@pytest.fixture
def train(config, start, together):
    """Run a command in one of the layouts to its end; its run directory."""

    def run(layout, *words, command="run", name=None):
        what = (
            command,
            "--config",
            config,
            f"--job.name={name or layout}",
            *LAYOUTS[layout],
            *words,
        )
        ended([start("-m", "lslm_lightning", *what)] if layout == "one" else together(*what))
        return only(f"{name or layout}-*")

    return run


def only(pattern: str) -> Path:
    [path] = Path("runs").glob(f"*/{pattern}")
    return path


def curve(run: Path, name: str) -> dict[int, float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["value"] for row in rows if row["name"] == name}


def same_curves(first: Path, second: Path, whole: bool = True) -> None:
    """Within 1e-5, and to the same end where both have come to it."""
    for name, tolerance in (
        ("train/loss", 1e-5),
        ("val/loss", 1e-5),
        ("train/tokens", 0),
        ("train/learning_rate", 0),
    ):
        one = curve(first, name)
        two = curve(second, name)
        steps = one.keys() & two.keys()
        assert steps
        assert not whole or max(two) == max(one)
        assert max(abs(one[step] - two[step]) for step in steps) <= tolerance, name


def scores(run: Path) -> list:
    return json.loads((run / "metrics.json").read_text())["scores"]


def test_any_number_of_processes_trains_what_one_does(train, together, lslm):
    """24 steps on the same global batches: all of the curve within 1e-5 in float32, and scores of
    the test equal to the last digit.

    In parts on 2 processes, or with each layer on 2, or whole on both; and what 2 wrote in parts
    half-way is gone on from by 2, by 1 that shards, by 1 that does not, and by 2 that split each
    layer.
    """
    one = train("one")
    half = train("fsdp", "--trainer.max_steps=13", command="fit", name="half")
    assert len(curve(one, "train/loss")) == STEPS
    for layout in ("ddp", "tensor"):
        run = train(layout)
        same_curves(one, run)
        assert curve(run, "train/loss").keys() == curve(one, "train/loss").keys()
        assert scores(run) == scores(one)
    last = half / "checkpoints/last.ckpt"
    assert {"__0_0.distcp", "__1_0.distcp", META, CHECKSUMS, ".metadata"} == {
        path.name for path in last.iterdir()
    }
    torch.load(last / META, weights_only=True)
    resumed = {
        "two": LAYOUTS["fsdp"],
        "alone": (*SHARDED, *ONE),
        "whole": (*ONE, "--trainer.strategy=auto"),
        "split": LAYOUTS["tensor"],
    }
    for name, layout in resumed.items():
        run = Path(f"runs/translation/{name}")
        shutil.copytree(half, run)
        (run / "mlflow.json").unlink()
        if name in ("two", "split"):
            ended(together("resume", run, f"--trainer.max_steps={STEPS}", *layout))
        else:
            outcome = lslm("resume", run, f"--trainer.max_steps={STEPS}", *layout)
            assert outcome.status == 0, outcome.err
            assert "resumes with 1 x 2" in outcome.out
        same_curves(one, run)
        assert set(range(1, STEPS + 1)) == curve(run, "train/loss").keys()
        assert read_state(run / "checkpoints/last.ckpt")["global_step"] == STEPS


def test_parts_become_one_file(train, lslm):
    run = train("fsdp", "--trainer.max_steps=20")
    best = run / "checkpoints/best.ckpt"
    outcome = lslm("consolidate", run)
    assert outcome.status == 0, outcome.err
    file = run / "checkpoints/best.safetensors"
    assert str(file) in outcome.out
    parts = load_run(best)
    whole = load_run(file)
    assert all(
        torch.equal(weight, whole.task.state_dict()[name])
        for name, weight in parts.task.state_dict().items()
    )
    written = {
        p["id"]: p["output"]
        for p in map(json.loads, (run / "predictions/test.jsonl").read_text().splitlines())
    }
    data = TranslationData(corpus=str(Path("pairs")), source_language="en", target_language="zh")
    for state in (best, file):
        assert {
            p.id: p.output for p in Checkpoint(str(state)).generate(data.examples("test"))
        } == written
    assert differences(best, best) == ""
    moments = read_parts(best, ["optimizer_0"])["optimizer_0"]["state"]
    assert all(
        moments[name]["exp_avg_sq"].shape == weight.shape
        for name, weight in parts.task.named_parameters()
    )
    refused(
        lslm("consolidate", run, "--output", "weights.bin"),
        1,
        "--output=weights.bin must end in .safetensors",
    )
    part = best / "__1_0.distcp"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.unlink()
    part.write_bytes(content)
    refused(
        lslm("consolidate", run),
        1,
        "best.ckpt is damaged: the checksum of its part __1_0.distcp is wrong",
    )


LONG = ("--trainer.max_steps=100000", "--job.save_every_steps=5")


def status_of(run: Path) -> str:
    return json.loads((run / "mlflow.json").read_text())["status"]


def test_a_lost_process_is_told_and_the_run_goes_on(config, start, together):
    """Started by Lightning's own launcher. The others end within 20 seconds, in one line; the run
    is FAILED, and can be resumed.
    """
    words = (
        "run",
        "--config",
        config,
        "--job.name=lost",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
    )
    process = start("-m", "lslm_lightning", *words, *LONG)
    wait_until(lambda: list(Path("runs").glob("*/lost-*/checkpoints/last.ckpt")), process)
    run = only("lost-*")
    [child] = psutil.Process(process.pid).children()
    child.kill()
    with at_most(20):
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    said = [line for line in output.splitlines() if line.startswith("lslm: ")]
    assert len(said) == 1, output
    assert "the process of rank 1 was killed by SIGKILL" in said[0]
    assert f"lslm resume {run}" in said[0]
    assert "Traceback" not in output
    assert status_of(run) == "FAILED"
    assert [found.info.status for found in runs()] == ["FAILED"], (
        "one run in MLflow, whatever the number of processes"
    )
    step = read_state(run / "checkpoints/last.ckpt")["global_step"]
    ended(together("resume", run, f"--trainer.max_steps={step + 3}"))
    assert status_of(run) == "FINISHED"


def test_torchrun_restarts_go_on(config, together):
    """A first attempt loses one process; the second one, of the same job, resumes in the same
    directory.
    """
    words = ("run", "--config", config, "--job.name=again", *SHARDED)
    first = together(*words, *LONG)
    wait_until(lambda: list(Path("runs").glob("*/again-*/checkpoints/last.ckpt")), first[0])
    first[0].kill()
    output, _ = first[1].communicate(timeout=PATIENCE)
    assert first[1].returncode == 1
    assert "rank 1 lost its connection to another process" in output
    run = only("again-*")
    step = read_state(run / "checkpoints/last.ckpt")["global_step"]
    written = run / "config.yaml"
    # the end comes soon
    written.write_text(written.read_text().replace("max_steps: 100000", f"max_steps: {step + 3}"))
    ended(together(*words, *LONG, attempt=1, store=together.store()))
    assert only("again-*") == run
    assert status_of(run) == "FINISHED"
    assert read_state(run / "checkpoints/last.ckpt")["global_step"] == step + 3
