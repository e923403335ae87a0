"""What a user sees of a run in MLflow's pages, in a real browser, through `lslm ui`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lslm_lightning.tracking import Tracker
from tests.conftest import CHROMIUM
from tests.mlflow_server import free_port
from tests.patience import PATIENCE
from tests.reports.conftest import Browser

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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        browser.connect()
        yield browser
    finally:
        browser.close()


def seen(browser: Browser, address: str, *wanted: str) -> str:
    """Return the page as it is drawn, as soon as it has all the texts that are `wanted`; their absence is the reader's to find."""
    browser.open("about:blank")  # addresses that differ behind # are one page, which would not be loaded anew
    browser.open(address)
    for _ in range(round(PATIENCE / 0.2)):
        page = browser.evaluate("document.documentElement.outerHTML") or ""
        if all(text in page for text in wanted):
            break
        time.sleep(0.2)
    return page


def test_a_run_shows_its_metrics_parameters_data_and_status(pages: str, browser: Browser) -> None:
    texts = ("a-run-to-look-at", "train/loss", "val/bleu", "39", "model.d_model", "256", "multi30k", "Finished")
    page = seen(browser, pages, *texts)
    assert [text for text in texts if text not in page] == []


def test_a_run_shows_its_artifacts_and_predictions_as_a_table(pages: str, browser: Browser) -> None:
    texts = ("config.yaml", "environment.txt", "View as table", "第0句", "第2句")
    page = seen(browser, f"{pages}/artifacts/tables/test.json", *texts)
    assert [text for text in texts if text not in page] == []
    assert "&lt;script&gt;document.title" in page
    assert "<title>broken" not in page
