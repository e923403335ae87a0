"""Whole jobs on tiny corpora, in this process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from torch.distributed import TCPStore

from lslm_lightning.__main__ import main
from tests.support.forked_commands import MODULE, Forked, Origin, draw_less, of_torchrun
from tests.support.waiting import PATIENCE

Start = Callable[..., subprocess.Popen | Forked]


class Outcome(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


def refused(outcome: Outcome, status: int, *words: str) -> None:
    """The command ended so, with one line that has these words."""
    assert outcome.status == status, outcome
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("lslm: ")
    for word in words:
        assert word in lines[0], lines[0]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | Forked) -> None:
    """Return when it holds; the process must not end before."""
    for _ in range(round(PATIENCE / 0.05)):
        if condition():
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    pytest.fail("waited in vain")


@pytest.fixture
def lslm(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> Callable[..., Outcome]:
    """Run `lslm ARGUMENTS` in an empty working directory with a cache of its own."""
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    shutil.copy(empty_store, project)
    draw_less(monkeypatch.setattr)

    def run(*arguments: object) -> Outcome:
        for name in ("LSLM_RUN_DIRECTORY", "LSLM_RUN_ID", "PL_GLOBAL_SEED"):
            monkeypatch.delenv(name, raising=False)
        before = {
            number: signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        capfd.readouterr()
        status = main([str(a) for a in arguments])
        assert before == {number: signal.getsignal(number) for number in before}, (
            "a command leaves signal handlers as they were"
        )
        return Outcome(status, *capfd.readouterr())

    return run


@pytest.fixture
def translation(project: Path, pairs: Path) -> Path:
    """A config that trains in a second."""
    return write_translation(project / "tiny.yaml", pairs)


def write_translation(path: Path, pairs: Path) -> Path:
    """A config of a tiny model, into the file `path`."""
    config = {
        "model": {
            "class_path": "tasks.translation.task.TranslationTask",
            "init_args": {
                "max_length": 20,
                "backbone": {
                    "class_path": "lslm_lightning.models.transformer.Transformer",
                    "init_args": {
                        "d_model": 16,
                        "n_head": 2,
                        "n_encoder_layer": 1,
                        "n_decoder_layer": 1,
                    },
                },
            },
        },
        "data": {
            "class_path": "tasks.translation.data.TranslationData",
            "init_args": {
                "corpus": str(pairs),
                "source_language": "en",
                "target_language": "zh",
                "tokenizer": {"class_path": "lslm_lightning.text.recipes.Characters"},
                "max_tokens": 200,
                "n_validation_example": 4,
            },
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 4,
            "val_check_interval": 2,
            "log_every_n_steps": 1,
        },
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def only_run() -> Callable[[], Path]:
    """The one run directory of the working directory."""

    def find() -> Path:
        [path] = [p for p in Path("runs").glob("*/*") if p.is_dir()]
        return path

    return find


@pytest.fixture
def environment(project: Path) -> dict[str, str]:
    """Environment variables for commands in processes of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))}
    return {
        **kept,
        "LSLM_CACHE": str(project / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.fixture
def forked_shares(
    environment: dict[str, str], project: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> list[Forked]:
    """Processes that `lslm evaluate --devices` starts from here on, which are forked."""
    forked: list[Forked] = []

    def popen(command: list[str], env: dict[str, str], **settings: object) -> Forked:
        assert command[:3] == [sys.executable, "-m", MODULE]
        assert settings == {"stdin": subprocess.PIPE, "process_group": 0}
        forked.append(origin.fork(command[3:], environment | env, project, has_input=True))
        return forked[-1]

    stand_in = SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE)
    monkeypatch.setattr("lslm_lightning.experiments.parallel_predictions.subprocess", stand_in)
    return forked


@pytest.fixture
def together(start: Start) -> Callable[..., list[Forked]]:
    """Start the processes of one command, as torchrun would; `attempt` counts its restarts, which
    share a store.
    """
    stores = []

    def begin(
        *arguments: object,
        n: int = 2,
        attempt: int = 0,
        store: TCPStore | None = None,
        **variables: str,
    ) -> list[Forked]:
        if store is None:
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            stores.append(store)
        return [
            start("-m", MODULE, *arguments, **own, **variables)
            for own in of_torchrun(n, store.port, attempt)
        ]

    begin.store = lambda: stores[-1]
    return begin


@pytest.fixture
def start(
    environment: dict[str, str],
    project: Path,
    empty_store: Path,
    origin: Origin,
    request: pytest.FixtureRequest,
) -> Iterator[Start]:
    """Start a Python command in a process of its own; keywords are variables of its environment.

    `-m lslm_lightning` is forked from a process that has imported it.
    """
    assert request.node.get_closest_marker("slow"), "mark the test slow: it starts commands"
    started = []

    def begin(*arguments: object, **variables: str) -> subprocess.Popen | Forked:
        words = list(map(str, arguments))
        if "MLFLOW_TRACKING_URI" not in variables and not (project / "mlflow.db").exists():
            shutil.copy(empty_store, project)
        if words[:2] == ["-m", MODULE]:
            started.append(origin.fork(words[2:], environment | variables, project))
        else:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(
                subprocess.Popen(
                    [sys.executable, *words], env=environment | variables, cwd=project, **pipes
                )
            )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
