"""Real processes and how they end: signals, a server, two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(translation: Path, environment: dict[str, str], project: Path) -> Start:
    """Start `lslm run` on the tiny config in a process of its own."""
    started = []

    def begin(*arguments: str, **variables: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "lslm_lightning", "run", "--config", str(translation), *arguments]
        process = subprocess.Popen(
            command, env={**environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def statuses(uri: str | None = None) -> list[str]:
    client = MlflowClient(uri or f"sqlite:///{Path('mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("translation")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


ENDLESS = ("--trainer.max_steps", "1000000", "--trainer.val_check_interval", "5")


@pytest.mark.parametrize(
    ("number", "status", "recorded"),
    [(signal.SIGINT, 130, "KILLED"), (signal.SIGTERM, 143, "KILLED"), (signal.SIGKILL, -9, "RUNNING")],
    ids=lambda value: str(value),
)
def test_a_stopped_run_says_so_and_keeps_its_last_state(start, number, status, recorded):
    process = start(*ENDLESS)
    wait_until(lambda: bool(list(Path("runs").glob("*/*/checkpoints/last.ckpt"))) or process.poll() is not None)
    assert process.poll() is None, process.stdout.read()
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    assert statuses() == [recorded]
    [last] = Path("runs").glob("*/*/checkpoints/last.ckpt")
    step = torch.load(last, weights_only=True)["global_step"]
    assert step > 0
    if number != signal.SIGKILL:
        assert f"interrupted by {number.name} at step {step}" in output.splitlines()[-1]
        assert "Traceback" not in output
    assert not list(last.parent.glob(".*.part")) or number == signal.SIGKILL


@pytest.fixture
def server(project: Path, environment: dict[str, str]) -> str:
    """The address of a real MLflow server."""
    import socket
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = project / "server"
    store.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination", str(store / "artifacts")]
    with (store / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=store, start_new_session=True)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (store / "log").read_text()
        try:
            return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
        except OSError:
            return False

    wait_until(answers)
    yield address
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_the_same_config_twice_on_a_server_makes_two_runs(start, server):
    for _ in range(2):
        process = start(MLFLOW_TRACKING_URI=server)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    assert statuses(server) == ["FINISHED", "FINISHED"]
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("translation")
    found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_id for run in found}) == 2
    for run in found:
        assert "config.yaml" in {a.path for a in client.list_artifacts(run.info.run_id)}
        assert "best.ckpt" in {Path(a.path).name for a in client.list_artifacts(run.info.run_id, "checkpoints")}
    assert not Path("mlflow.db").exists(), "a server is the only store"


def test_two_processes_are_one_run_with_the_score_of_one_process(start, environment, project):
    process = start("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_steps", "6")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert statuses() == ["FINISHED"]
    [run] = [p for p in Path("runs/translation").iterdir() if p.is_dir()]
    together = json.loads((run / "metrics.json").read_text())["scores"]
    command = [sys.executable, "-m", "lslm_lightning", "test", "--config", str(run / "config.yaml")]
    command += ["--ckpt_path", str(run / "checkpoints/best.ckpt"), "--trainer.devices", "1", "--trainer.strategy", "auto"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, cwd=project)
    assert done.returncode == 0, done.stderr
    [other] = [p for p in Path("runs/translation").iterdir() if p != run]
    assert json.loads((other / "metrics.json").read_text())["scores"] == together


def test_processes_without_a_share_of_an_exam_wait_for_those_that_have_one(start, project):
    """One text to validate and to test on, two processes."""
    for split in ("train", "val", "test"):
        (project / f"{split}.txt").write_text("red green blue " * (40 if split == "train" else 1))
    config = yaml.safe_load((project / "tiny.yaml").read_text())
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    config["model"] = {
        "class_path": "tasks.language_modeling.task.LanguageModelingTask",
        "init_args": {"context": 16, "backbone": model["backbone"]},
    }
    model["backbone"]["init_args"]["n_encoder_layer"] = 0
    config["data"] = {
        "class_path": "tasks.language_modeling.data.LanguageModelingData",
        "init_args": {"corpus": str(project), "tokenizer": data["tokenizer"], "context": 16},
    }
    (project / "tiny.yaml").write_text(yaml.safe_dump(config))
    output, _ = (process := start("--trainer.devices", "2", "--trainer.strategy", "ddp")).communicate(timeout=200)
    assert process.returncode == 0, output
    [run] = Path("runs/language_modeling").iterdir()
    [score] = [s for s in json.loads((run / "metrics.json").read_text())["scores"] if s["metric"] == "bits_per_byte"]
    assert score["n_example"] == 1
    assert score["value"] > 0


def test_help_answers_at_once_and_loads_nothing_heavy(environment):
    code = "import sys; from lslm_lightning.__main__ import main; main(sys.argv[1:]); "
    code += "print(sorted({'torch', 'lightning', 'mlflow'} & set(sys.modules)))"
    for words in (["--help"], ["data", "list"], ["trian"]):
        done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "[]", done
