"""What a user sees of a run in MLflow's pages, in a real browser, through `lslm ui`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lslm_lightning.tracking import Tracker
from lslm_lightning.types import JsonObject
from tests.support.browser import Browser
from tests.support.mlflow_server import free_port
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.browser


class Pages(NamedTuple):
    """Addresses that `lslm ui` serves: the page of a run, and the links that it prints."""

    run: str
    links: dict[str, str]


def no_files(folder: Path, facts: JsonObject) -> str:
    """Write the files of a model that is not registered, which has none."""
    raise AssertionError(folder)


def track(project: Path, uri: str, name: str, score: float, parameters: dict[str, object]) -> None:
    """Make a tested run."""
    directory = project / name
    directory.mkdir()
    tags = {
        "corpus": "multi30k",
        "languages": "en-de",
        "model": "LSTM",
        "headline": "test/bleu",
        "interval": f"{score} to 99",
    }
    tracker = Tracker("translation", name, directory, uri, tags=tags, system_metrics=False)
    tracker.start()
    tracker.log_hyperparams({"n_parameter": 1234567, "corpus": "multi30k", **parameters})
    for step in range(3):
        tracker.log_metrics(
            {
                "train/loss": 5.0 - step,
                "train/learning_rate": 0.1,
                "val/loss": 4.0 - step,
                "val/bleu": score,
            },
            step,
        )
    tracker.log_metrics({"test/bleu": score}, 3)
    tracker.log_dataset("multi30k", "ab" * 32, "test", "https://example.org/multi30k")
    facts = {"metric": "val/bleu", "score": score, "loss": 2.0, "higher_is_better": True}
    tracker.log_model(
        {"checkpoint": "0" * 64, "registered": None, "conditions": "c", **facts}, no_files
    )
    tracker.end("FINISHED")
    assert tracker.problems == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Pages]:
    """Those of three finished runs."""
    project = tmp_path_factory.mktemp("project")
    shutil.copy(empty_store, project)
    uri = f"sqlite:///{project}/mlflow.db"
    track(project, uri, "small-run", 21.5, {"optimizer.lr": 0.25})
    track(project, uri, "better-run", 31.5, {"optimizer.lr": 0.25, "backbone.dropout": 0.75})
    tracker = Tracker("translation", "a-run-to-look-at", project, uri, tags={"corpus": "multi30k"})
    tracker.start()
    tracker.log_hyperparams({"model": {"d_model": 256}})
    tracker.set_description(
        "**Better than the baseline.**\n\n| metric | this run |\n| --- | --- |\n| bleu | 39 "
        "|\n\n[report](#/experiments)"
    )
    for step in range(20):
        tracker.log_metrics({"train/loss": 5.0 - step / 10, "val/bleu": 20.0 + step}, step)
    tracker.log_dataset("multi30k", "ab" * 32, "train", "https://example.org/multi30k")
    rows = [
        {"id": str(i), "output": f"<script>document.title='broken'</script> 第{i}句"}
        for i in range(3)
    ]
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
        assert process.stdout.readline() == "translation:\n"
        found = [process.stdout.readline().strip().rpartition("  ") for _ in range(4)]
        yield Pages(
            f"http://127.0.0.1:{port}/{tracker.page}",
            {name.strip(): address for name, _, address in found},
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def seen(browser: Browser, address: str, *wanted: str, width: int = 1280) -> str:
    """Return the page as it is drawn, as soon as it has all the texts that are `wanted`; their
    absence is the reader's to find.
    """
    # addresses that differ behind # are one page, which would not be loaded anew
    browser.open("about:blank")
    browser.open(address, width)
    for _ in range(round(PATIENCE / 0.2)):
        page = browser.evaluate("document.documentElement.outerHTML") or ""
        if all(text in page for text in wanted):
            break
        time.sleep(0.2)
    return page


def test_a_run_shows_its_description_metrics_parameters_data_and_status(
    pages: Pages, browser: Browser
) -> None:
    texts = (
        "a-run-to-look-at",
        "train/loss",
        "val/bleu",
        "39",
        "model.d_model",
        "256",
        "multi30k",
        "Finished",
    )
    texts += ("<strong>Better than the baseline.</strong>", "<td>bleu</td>", 'href="#/experiments"')
    page = seen(browser, pages.run, *texts)
    assert [text for text in texts if text not in page] == []
    shown = browser.evaluate("document.body.innerText")
    assert "<!-- lslm" not in shown, "the signature of a description is for programs"


def test_a_run_shows_its_artifacts_and_predictions_as_a_table(
    pages: Pages, browser: Browser
) -> None:
    texts = ("config.yaml", "environment.txt", "View as table", "第0句", "第2句")
    page = seen(browser, f"{pages.run}/artifacts/tables/test.json", *texts)
    assert [text for text in texts if text not in page] == []
    assert "&lt;script&gt;document.title" in page
    assert "<title>broken" not in page


def cells(browser: Browser, column: str) -> list[str]:
    """Return what the table of runs shows in a column, from top to bottom."""
    wanted = json.dumps(f"[role=row]:not(.ag-header-row) [col-id={json.dumps(column)}]")
    rows = browser.evaluate(f"""[...document.querySelectorAll({wanted})]
        .map(cell => [
            Number(cell.closest("[row-index]").getAttribute("row-index")),
            cell.innerText.trim(),
        ])""")
    return [text for _, text in sorted(rows)]


def test_the_link_to_the_table_shows_scores_with_intervals_and_the_settings_that_differ_best_first(
    pages: Pages, browser: Browser
) -> None:
    names = (
        "test/bleu",
        "interval",
        "backbone.dropout",
        "corpus",
        "languages",
        "model",
        "n_parameter",
    )
    texts = ("better-run", "31.5 to 99", "Model training", "Best first (lslm)", *names)
    # columns out of sight are not drawn
    page = seen(browser, pages.links["best first"], *texts, width=2600)
    assert [text for text in texts if text not in page] == []
    assert cells(browser, "metrics.`test/bleu`")[:2] == ["31.5", "21.5"]
    assert cells(browser, "tags.`interval`")[:2] == ["31.5 to 99", "21.5 to 99"]
    assert cells(browser, "params.`backbone.dropout`")[:2] == ["0.75", "-"]
    assert cells(browser, "params.`optimizer.lr`") == [], "this is the same in both"
    headings = browser.evaluate("""
        [...document.querySelectorAll("[role=columnheader][col-id*='`']")]
        .sort((a, b) => a.ariaColIndex - b.ariaColIndex)
        .map(each => each.getAttribute("col-id").split("`")[1])""")
    assert headings[: len(names)] == list(names)


def test_the_link_to_the_charts_begins_with_scores_of_tests_and_validations(
    pages: Pages, browser: Browser
) -> None:
    seen(browser, pages.links["charts"], "better-run", "test/bleu", "settings that differ")
    # charts further down are drawn when they come into view
    shown = browser.evaluate("document.body.innerText")
    charts = shown[shown.find("\ntest\n") :]
    places = [
        charts.find(text)
        for text in ("\ntest\n", "test/bleu", "\nsettings that differ\n", "\nval\n", "\ntrain\n")
    ]
    assert min(places) > -1, shown
    assert places == sorted(places)


def test_the_link_to_the_models_shows_them_with_their_scores_on_their_data(
    pages: Pages, browser: Browser
) -> None:
    texts = ("better-run", "small-run", "test/bleu", "val/loss", "31.5", "multi30k", "Ready")
    # columns out of sight are not drawn
    page = seen(browser, pages.links["models"], *texts, width=3600)
    assert [text for text in texts if text not in page] == []
    assert browser.evaluate("document.querySelector('h2').innerText") == "Models"
