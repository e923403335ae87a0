"""What a user sees of a run in MLflow's pages, in a real browser, through `lslm ui`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lslm_lightning.tracking import Tracker
from tests.conftest import CHROMIUM
from tests.mlflow_server import free_port
from tests.patience import PATIENCE

QUIET = ("gpu", "background-networking", "component-update", "sync")
OPTIONS = ["--headless=new", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in QUIET)]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of a finished run, as `lslm ui` serves it."""
    project = tmp_path_factory.mktemp("project")
    uri = f"sqlite:///{project}/mlflow.db"
    tracker = Tracker("translation", "a-run-to-look-at", project, uri, tags={"corpus": "multi30k"})
    tracker.start()
    tracker.log_hyperparams({"model": {"d_model": 256}})
    for step in range(20):
        tracker.log_metrics({"train/loss": 5.0 - step / 10, "val/bleu": 20.0 + step}, step)
    tracker.log_dataset("multi30k", "ab" * 32, "train", "https://example.org/multi30k")
    rows = [{"id": str(i), "output": f"<script>document.title='broken'</script> 第{i}句"} for i in range(3)]
    (project / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project / "config.yaml").write_text("model: {}\n")
    tracker.log_table(project / "test.jsonl")
    tracker.log_artifact(project / "config.yaml")
    tracker.end("FINISHED")
    assert tracker.problems == []
    port = free_port()
    command = [sys.executable, "-m", "lslm_lightning", "ui", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        experiment = tracker.store.open_experiment("translation")[1]
        yield f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs/{tracker.version}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def seen(address: str, folder: Path, wanted: str) -> str:
    """The page as the browser has drawn it, given more time when `wanted` is not there yet."""
    for attempt in range(1, 4):
        profile = f"--user-data-dir={folder / str(attempt)}"
        command = [CHROMIUM, *OPTIONS, profile, f"--virtual-time-budget={attempt * 15_000}", "--dump-dom", address]
        page = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
        if wanted in page:
            break
    return page


def test_a_run_shows_its_metrics_parameters_data_and_status(pages: str, tmp_path: Path) -> None:
    page = seen(pages, tmp_path, "val/bleu")
    for text in ("a-run-to-look-at", "train/loss", "val/bleu", "39", "model.d_model", "256", "multi30k", "Finished"):
        assert text in page, text


def test_a_run_shows_its_artifacts_and_predictions_as_a_table(pages: str, tmp_path: Path) -> None:
    page = seen(f"{pages}/artifacts/tables/test.json", tmp_path, "第2句")
    for text in ("config.yaml", "environment.txt", "View as table", "第0句", "第2句"):
        assert text in page, text
    assert "&lt;script&gt;document.title" in page
    assert "<title>broken" not in page
