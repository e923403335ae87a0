"""Real processes and how they end: signals, a server, two processes."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from lslm_lightning import __version__
from lslm_lightning.__main__ import main
from lslm_lightning.experiments.endings import one_line
from tests.commands.conftest import Start, wait_until
from tests.support.forked_commands import MODULE, Forked, Origin
from tests.support.multi30k import write_part
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow


def test_a_stop_while_the_command_is_imported_is_one_line(monkeypatch, capsys):
    def stop(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lslm_lightning.safety.arguments.given_arguments", stop)
    assert main(["run"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "lslm: interrupted\n"


@pytest.fixture
def start_run(start: Start, translation: Path) -> Start:
    """Start `lslm run` on the tiny config."""
    return partial(start, "-m", "lslm_lightning", "run", "--config", translation)


def recorded_runs(uri: str | None = None) -> list[Run]:
    """Return the runs of this project that MLflow has; a server may have those of other tests
    too.
    """
    client = MlflowClient(uri or f"sqlite:///{Path('mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("translation")
    here = {path.name for path in Path("runs/translation").iterdir()}
    return [
        run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name in here
    ]


def statuses(uri: str | None = None) -> list[str]:
    return [run.info.status for run in recorded_runs(uri)]


ENDLESS = ("--trainer.max_steps", "1000000", "--trainer.val_check_interval", "5")


@pytest.mark.parametrize(
    ("number", "status", "recorded", "store"),
    [
        (signal.SIGINT, 130, "KILLED", "sqlite"),
        (signal.SIGTERM, 143, "KILLED", "server"),
        (signal.SIGHUP, 129, "KILLED", "sqlite"),
        (signal.SIGKILL, -9, "RUNNING", "server"),
    ],
    ids=lambda value: str(value),
)
def test_a_stopped_run_says_so_and_keeps_its_last_state(
    start_run, number, status, recorded, store, request
):
    uri = request.getfixturevalue("server") if store == "server" else None
    process = start_run(*ENDLESS, **({"MLFLOW_TRACKING_URI": uri} if uri else {}))
    wait_until(lambda: bool(list(Path("runs").glob("*/*/checkpoints/last.ckpt"))), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, output
    assert statuses(uri) == [recorded]
    [last] = Path("runs").glob("*/*/checkpoints/last.ckpt")
    step = torch.load(last, weights_only=True)["global_step"]
    assert step > 0
    if number != signal.SIGKILL:
        said, way_on = output.splitlines()[-2:]
        assert f"interrupted by {number.name} at step {step}" in said
        assert way_on == f"To continue: lslm resume {last.parents[1]}"
        assert "Traceback" not in output
    assert not list(last.parent.glob(".*.part")) or number == signal.SIGKILL


def test_a_run_whose_terminal_is_closed_saves_and_says_so(
    origin, environment, translation, project, empty_store
):
    """The run prints from then on, its progress bar too, to no terminal."""
    shutil.copy(empty_store, project)
    master, slave = os.openpty()
    os.set_blocking(master, False)

    def has_saved() -> bool:
        with suppress(BlockingIOError):
            os.read(master, 65536)
        return bool(list(Path("runs").glob("*/*/checkpoints/last.ckpt")))

    process = origin.fork(
        ["run", "--config", str(translation), *ENDLESS], environment, project, terminal=slave
    )
    wait_until(has_saved, process)
    os.close(master)
    assert process.wait(PATIENCE) == 129
    assert statuses() == ["KILLED"]


def test_the_same_config_twice_on_a_server_makes_two_runs(start_run, server, project):
    for _ in range(2):
        process = start_run(MLFLOW_TRACKING_URI=server)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
    assert statuses(server) == ["FINISHED", "FINISHED"]
    client = MlflowClient(server)
    for run in recorded_runs(server):
        kept = Path(client.download_artifacts(run.info.run_id, "config.yaml", str(project)))
        assert (
            kept.read_text()
            == (Path("runs/translation") / run.info.run_name / "config.yaml").read_text()
        )
        assert "best.ckpt" in {
            Path(a.path).name for a in client.list_artifacts(run.info.run_id, "checkpoints")
        }
    assert not Path("mlflow.db").exists(), "a server is the only store"


def scores(run: Path) -> list[dict]:
    return json.loads((run / "metrics.json").read_text())["scores"]


def scores_of_one_process(run: Path, start: Start) -> list[dict]:
    """The scores of a run's best checkpoint in one process."""
    words = ("test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt")
    process = start(
        "-m",
        "lslm_lightning",
        *words,
        "--trainer.devices",
        1,
        "--trainer.strategy",
        "auto",
    )
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    [other] = [path for path in run.parent.iterdir() if path != run]
    return scores(other)


TWO = ("--trainer.devices", 2, "--trainer.strategy", "ddp")


@pytest.fixture
def run_on(start: Start, together: Callable[..., list[Forked]]) -> Callable[..., None]:
    """`(number of processes, words)`: run a command on so many, to its end."""

    def run(n: int, *words: object, **variables: str) -> None:
        processes = (
            [start("-m", MODULE, *words, **variables)]
            if n == 1
            else together(*words, n=n, **variables)
        )
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, output

    return run


@pytest.mark.distributed
def test_the_gradient_of_two_processes_is_that_of_one_over_the_same_window(run_on, translation):
    """Plain gradient descent in double precision, no clipping: a wrong factor would show in the
    weights, however ragged the batches.
    """
    plain = (
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.1",
        "--model.schedule=lslm_lightning.optim.Constant",
    )
    plain += (
        "--model.backbone.dropout=0",
        "--trainer.gradient_clip_val=0",
        "--trainer.precision=64-true",
        "--trainer.max_steps=3",
    )
    weights = []
    for n, words in (
        (2, TWO),
        (1, ("--trainer.accumulate_grad_batches", 2, "--trainer.val_check_interval", 4)),
    ):
        run_on(n, "fit", "--config", translation, *words, *plain)
        newest = max(Path("runs/translation").iterdir(), key=lambda path: path.stat().st_mtime)
        weights.append(
            torch.load(newest / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        )
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=1e-12)


SMALL = (
    "--model.backbone.d_model=32",
    "--model.backbone.n_head=2",
    "--model.backbone.d_feedforward=64",
)
SHORT = (
    "--model.max_length=8",
    "--model.search=lslm_lightning.decoding.Greedy",
    "--data.n_validation_example=4",
    "--job.average=0",
)
STEPS = (
    "--trainer.max_steps=4",
    "--data.tokenizer.vocab_size=500",
    "--trainer.val_check_interval=2",
    "--trainer.limit_val_batches=2",
)


@pytest.mark.distributed
def test_two_processes_score_real_data_as_one_does(real_data, start, run_on, project):
    """Compare in double precision: padding of a batch must decide no token."""
    part = write_part(project / "part", real_data, train=600, val=40, test=301)
    config = Path(__file__).parents[2] / "configs/translation/multi30k_en_de_cpu.yaml"
    words = ("run", "--config", config, *TWO, *SMALL, *SHORT, *STEPS, "--trainer.precision=64-true")
    run_on(2, *words, "--data.corpus", part)
    [run] = Path("runs/translation").iterdir()
    assert {score["n_example"] for score in scores(run)} == {301}
    assert scores_of_one_process(run, start) == scores(run)


@pytest.mark.distributed
def test_processes_without_a_share_of_an_exam_wait_for_those_that_have_one(
    run_on, translation, project
):
    """One text to validate and to test on, two processes."""
    for split in ("train", "val", "test"):
        (project / f"{split}.txt").write_text("red green blue " * (40 if split == "train" else 1))
    config = yaml.safe_load((project / "tiny.yaml").read_text())
    model = config["model"]["init_args"]
    data = config["data"]["init_args"]
    config["model"] = {
        "class_path": "tasks.language_modeling.task.LanguageModelingTask",
        "init_args": {"context": 16, "backbone": model["backbone"]},
    }
    model["backbone"]["init_args"]["n_encoder_layer"] = 0
    config["data"] = {
        "class_path": "tasks.language_modeling.data.LanguageModelingData",
        "init_args": {"corpus": str(project), "tokenizer": data["tokenizer"]},
    }
    (project / "tiny.yaml").write_text(yaml.safe_dump(config))
    run_on(2, "run", "--config", project / "tiny.yaml", *TWO)
    [run] = Path("runs/language_modeling").iterdir()
    [score] = [
        s
        for s in json.loads((run / "metrics.json").read_text())["scores"]
        if s["metric"] == "bits_per_byte"
    ]
    assert score["n_example"] == 1
    assert score["value"] > 0


def test_help_answers_at_once_and_loads_nothing_heavy(environment):
    code = "import sys; from lslm_lightning.__main__ import main; main(sys.argv[1:]); "
    code += (
        "import json; print(json.dumps([sorted({'torch', 'lightning', 'mlflow'} & "
        "set(sys.modules)), len(sys.modules)]))"
    )
    for words in (["--help"], ["data", "list"], ["trian"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        heavy, n_module = json.loads(done.stdout.splitlines()[-1])
        assert heavy == [], done
        assert n_module < 1000, f"lslm {' '.join(words)} imports {n_module} modules"


def test_workers_of_the_suite_share_one_origin(origin, shared, environment, project):
    before = len(psutil.Process().children())
    other = Origin(environment, shared)
    assert len(psutil.Process().children()) == before
    for one in (other, origin):
        process = one.fork(["--version"], environment, project)
        output, _ = process.communicate(timeout=PATIENCE)
        assert output == f"{__version__}\n", "also after another worker has ended"
        assert process.returncode == 0
        other.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_a_way_out(number: int) -> None:
    message = one_line(OSError(number, os.strerror(number)))
    assert message.startswith(os.strerror(number))
    assert "free space" in message
