"""A registered model in an environment that is made from its own requirements alone."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from lslm_lightning import generate
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import TRANSLATION
from tests.benchmarks.job import JobError, lslm
from tests.support.mlflow_server import free_port

NAME = "dates"
STEPS = 100
TEXTS = ["Monday, 3 May", "June", "Komi, Indonesian, and Afar", "12 June 2020", "yesterday"]
MINUTES = 5  # that a server may take to begin
HIDDEN = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "LSLM_CACHE")


class FreshEnvironment:
    """Environment with the requirements of an MLflow model, which sees no checkout.

    Args:
        folder: folder for the environment and for what its commands write.
        model: folder of the MLflow model.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.model = model
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        home = folder / "environment"
        venv.create(home, with_pip=True)
        self.variables = {
            **inherited,
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "LSLM_CACHE": str(folder / "cache"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.python = home / "bin/python"
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run(str(self.python), *install, "-r", "requirements.txt", folder=model)

    def run(self, *command: str, folder: Path | None = None) -> None:
        """Run a command of the environment.

        Raises:
            JobError: it failed.
        """
        done = subprocess.run(command, cwd=folder or self.folder, env=self.variables)
        if done.returncode:
            raise JobError(f"{' '.join(command)[:200]} ended with status {done.returncode}")

    def predicted(self) -> list[str]:
        """Answers of `mlflow models predict`."""
        given, found = self.folder / "texts.json", self.folder / "answers.json"
        given.write_text(json.dumps({"inputs": TEXTS}), "utf-8")
        files = ("--input-path", str(given), "--output-path", str(found))
        self.run("mlflow", "models", "predict", *self.options, *files)
        return list(json.loads(found.read_text("utf-8"))["predictions"])

    def served(self) -> list[str]:
        """Answers of `mlflow models serve`, asked over HTTP."""
        with self.server() as address:
            request = urllib.request.Request(
                f"{address}/invocations",
                json.dumps({"inputs": TEXTS}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                return list(json.load(response)["predictions"])

    @property
    def options(self) -> tuple[str, ...]:
        return ("--model-uri", str(self.model), "--env-manager", "local")

    @contextmanager
    def server(self) -> Iterator[str]:
        """Address of a server of the model, which is stopped at the end."""
        port = free_port()
        command = ["mlflow", "models", "serve", *self.options, "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.variables, start_new_session=True
        )
        try:
            for _ in range(60 * MINUTES):
                if process.poll() is not None:
                    raise JobError(f"{' '.join(command)} ended with status {process.returncode}")
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait()


def fresh_answers(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Return how the answers of a registered model in an environment of its own differ from those
    of `lslm generate` here.
    """
    with tempfile.TemporaryDirectory(prefix="mlflow-models-") as name:
        folder = Path(name)
        uri = f"sqlite:///{folder}/mlflow.db"
        words = [f"--trainer.max_steps={2 if smoke else STEPS}", "--job.minutes=null"]
        words += [f"--job.registered_model={NAME}", f"--job.root={folder}/runs"]
        [run] = lslm("fit", "--config", *TRANSLATION, *words, given={"MLFLOW_TRACKING_URI": uri})
        expected = [each.output for each in generate(run.path, TEXTS)]
        source = MlflowClient(uri).get_model_version_download_uri(NAME, "1")
        model = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder / "model")))
        began = time.monotonic()
        fresh = FreshEnvironment(folder, model)
        minutes = (time.monotonic() - began) / 60
        answers = {"predict": fresh.predicted(), "serve": fresh.served()}
        size = sum(path.stat().st_size for path in model.rglob("*"))
        return {
            "python": sys.version.split()[0],
            "texts": len(TEXTS),
            "requirements": len((model / "requirements.txt").read_text().split()),
            "megabytes": size / 1e6,
            "minutes to install": minutes,
            "not equal": {
                name: sum(one != other for one, other in zip(found, expected, strict=True))
                for name, found in answers.items()
            },
            "characters": sum(map(len, map(str, expected))),
        }


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Require equal answers."""
    found = figures["fresh"]
    return [
        Check(f"mlflow models {name}: answers not equal, of {found['texts']}", n, "<=", 0)
        for name, n in found["not equal"].items()
    ]


BENCHMARK = Benchmark(
    about="a registered model in an environment of its own requirements, against lslm generate",
    minutes=10,
    parts={"fresh": fresh_answers},
    checks=checks,
)
