"""Models of runs in MLflow: what is linked, which version is the best, and what repetition does."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.store.entities import PagedList

from lslm_lightning.experiments.tested_model import is_stored_with
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Tracker
from lslm_lightning.tracking.curves import Point
from lslm_lightning.tracking.logged_models import ModelUpload, best_of, points_of_checkpoint
from lslm_lightning.tracking.run_record import RunRecord
from lslm_lightning.tracking.store import Store

NAMES = (f"dates-{number}" for number in count())  # the server is shared by all tests
FACTS = {
    "checkpoint": "0" * 64,
    "registered": None,
    "metric": "val/bleu",
    "score": 2.5,
    "loss": 3.0,
    "higher_is_better": True,
    "conditions": "c1",
}
CURVE = {1: (1.0, 4.0), 2: (2.5, 3.5), 3: (2.5, 3.0), 4: (2.0, 2.5)}  # step: (bleu, loss)

Log = Callable[..., Tracker]


@pytest.fixture
def log(address: str, run_directory: Path) -> Iterator[Log]:
    """Log the model of a new run whose facts are `FACTS` but for some."""
    made = []

    def start(**changed: Any) -> Tracker:
        directory = run_directory.with_name(f"run-{len(made)}")
        directory.mkdir()
        tracker = Tracker("toy", directory.name, directory, address, system_metrics=False)
        made.append(tracker)
        tracker.start()
        tracker.set_tags({"corpus": "cldr"})
        tracker.log_hyperparams({"d_model": 64})
        for step, (bleu, loss) in CURVE.items():
            tracker.log_metrics({"val/bleu": bleu, "val/loss": loss}, step)
        tracker.log_metrics({"test/bleu": 2.25}, 4)
        tracker.log_dataset("cldr", "5:" + "ab" * 32, "val", "https://example.org")
        tracker.log_dataset("cldr", "6:" + "cd" * 32, "test", "https://example.org")
        tracker.log_model({**FACTS, **changed}, write)
        assert tracker.flush()
        return tracker

    yield start
    for tracker in made:
        tracker.end("FINISHED")


def write(folder: Path, facts: dict[str, Any]) -> str:
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data/weights").write_bytes(b"w" * 1000)
    return "d" * 64


def test_a_model_has_the_metrics_of_its_checkpoint_on_their_data_sets(log: Log) -> None:
    tracker = log()
    client = tracker.client
    model = client.get_logged_model(tracker.model["model_id"])
    assert (model.status, model.source_run_id) == ("READY", tracker.version)
    assert model.tags["mlflow.model.isExternal"] == "true"
    assert model.tags["corpus"] == "cldr"
    assert model.params == {"d_model": "64"}
    found = {each.key: (each.step, each.value, each.dataset_digest) for each in model.metrics}
    assert found == {
        "val/bleu": (3, 2.5, ("5:" + "ab" * 32)[:36]),
        "val/loss": (3, 3.0, ("5:" + "ab" * 32)[:36]),
        "test/bleu": (4, 2.25, ("6:" + "cd" * 32)[:36]),
    }
    run = client.get_run(tracker.version)
    assert [each.model_id for each in run.outputs.model_outputs] == [model.model_id]
    for name in ("val/bleu", "val/loss"):
        assert len(client.get_metric_history(tracker.version, name)) == len(CURVE)
    assert client.list_logged_model_artifacts(model.model_id) == []


def test_only_a_model_of_the_tested_checkpoint_gets_scores(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    tracker, tester = log(), log(checkpoint="1" * 64)
    facts = {**FACTS, "model_id": tracker.model["model_id"]}

    def testers() -> set[str]:
        model = tracker.client.get_logged_model(facts["model_id"])
        return {each.run_id for each in model.metrics}

    for stranger in ({"checkpoint": "1" * 64}, {"checkpoint": None}):
        tester.log_tested_model({**facts, **stranger})
        assert tester.flush()
        assert testers() == {tracker.version}
    assert caplog.text.count("is of another checkpoint: it gets no scores") == 2
    tester.log_tested_model(facts)
    assert tester.flush()
    assert testers() == {tracker.version, tester.version}


def test_a_run_is_found_in_the_store_of_its_project_wherever_that_is(
    store: Path, run_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = store.parent
    tracker = Tracker("toy", "a", run_directory, f"sqlite:///{store}", system_metrics=False)
    tracker.start()
    tracker.end("FINISHED")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    link, moved = elsewhere / "link", elsewhere / "moved"
    link.symlink_to(project)
    shutil.copytree(project, moved)
    runs = [folder / run_directory.relative_to(project) for folder in (project, link, moved)]
    for folder, is_there in ((project, [1, 1, 0]), (link, [1, 1, 0]), (moved, [0, 0, 1])):
        here: Any = SimpleNamespace(store=Store(f"sqlite:///{folder / store.name}"))
        assert [is_stored_with(RunDirectory(run), here) for run in runs] == is_there


def test_best_is_the_version_with_the_best_comparable_score(log: Log) -> None:
    name = next(NAMES)

    def register(score: float, conditions: str | None = "c1") -> tuple[str, str | None]:
        facts = {"registered": name, "score": score, "conditions": conditions}
        model = log(**facts, checkpoint=f"{score}").model
        return model["version"], model["best"]

    assert register(2.5) == ("1", "1")
    assert register(2.0) == ("2", "1")
    assert register(3.0) == ("3", "3")
    assert register(9.0, "c2") == ("4", "3")  # of another validation split
    assert register(9.0, None) == ("5", "3")  # not validated
    assert register(3.0) == ("6", "3")


class SharedRegistry:
    """Client of a registry in which another job registers the best version, with the alias, before
    the given call of this one.
    """

    def __init__(self, meanwhile: int) -> None:
        self.versions: list[SimpleNamespace] = []
        self.add({"lslm.score": "2.0", "lslm.conditions": "c1"})
        self.aliases = {"best": 1}
        self.n_left = meanwhile

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self.n_left == 0:
            self.add({**self.versions[0].tags, "lslm.score": "9.0"})
            self.aliases["best"] = self.versions[-1].version
        self.n_left -= 1
        return {
            "create_registered_model": lambda name: None,
            "get_registered_model": lambda name: SimpleNamespace(aliases=dict(self.aliases)),
            "search_model_versions": lambda *_, page_token: PagedList(self.versions, page_token),
            "get_model_version": lambda name, version: self.versions[int(version) - 1],
            "create_model_version": lambda name, source, run_id, tags, **_: self.add(tags),
            "set_logged_model_tags": lambda *_: None,
            "set_registered_model_alias": lambda name, alias, version: self.aliases.update(
                {alias: int(version)}
            ),
        }[name]

    def add(self, tags: dict[str, str]) -> SimpleNamespace:
        tags = {**tags, "lslm.higher_is_better": "true"}
        self.versions.append(SimpleNamespace(version=len(self.versions) + 1, tags=tags))
        return self.versions[-1]


@pytest.mark.parametrize("meanwhile", range(10))
def test_best_is_right_whenever_another_job_registers(tmp_path: Path, meanwhile: int) -> None:
    registry = SharedRegistry(meanwhile)
    run: Any = SimpleNamespace(client=registry, run_id="r", directory=tmp_path)
    upload = ModelUpload(run, "toy", RunRecord(tmp_path, pytest.fail))
    model: Any = SimpleNamespace(model_id="m", artifact_location="")
    found = upload.register(model, {**FACTS, "registered": "dates"})
    best = max(registry.versions, key=lambda each: float(each.tags["lslm.score"])).version
    assert registry.aliases == {"best": best}
    assert found["best"] == str(best)


def test_what_is_sent_again_is_there_once(log: Log) -> None:
    name = next(NAMES)
    tracker = log(registered=name)
    client = tracker.client
    known = tracker.model
    for _ in range(2):
        tracker.log_model({**FACTS, "registered": name}, lambda *_: pytest.fail("written again"))
        assert tracker.flush()
    # as where the process was killed before it had noted that the version was made
    tracker._record.add_to_model({"version": None})
    tracker.log_model({**FACTS, "registered": name}, lambda *_: pytest.fail("written again"))
    assert tracker.flush()
    assert tracker.model == known
    assert tracker.problems == []
    [version] = client.search_model_versions(f"name='{name}'")
    assert version.run_id == tracker.version
    assert len(client.get_run(tracker.version).outputs.model_outputs) == 1
    entries = client.list_logged_model_artifacts(known["model_id"], "data")
    assert [(each.path, each.file_size) for each in entries] == [("data/weights", 1000)]
    assert not list(tracker.directory.glob(".mlflow-model*"))
    later = {**FACTS, "registered": name, "checkpoint": "1" * 64, "score": 4.0}
    tracker.log_model(later, write)
    assert tracker.flush()
    assert (tracker.model["version"], tracker.model["best"]) == ("2", "2")


def test_a_model_that_cannot_be_written_is_told_and_the_run_goes_on(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = log()

    def fail(folder: Path, facts: dict[str, Any]) -> None:
        folder.mkdir()
        raise ValueError("no code for mine.Model")

    tracker.log_model({**FACTS, "registered": next(NAMES)}, fail)
    assert tracker.flush()
    assert [each for each in tracker.problems if "no code for mine.Model" in each]
    assert not list(tracker.directory.glob(".mlflow-model*"))
    tracker.log_metrics({"test/ter": 1.0}, 4)
    tracker.end("FINISHED")
    run = MlflowClient(tracker.store.uri).get_run(tracker.run.run_id)
    assert (run.info.status, run.data.metrics["test/ter"]) == ("FINISHED", 1.0)


def test_a_mean_of_checkpoints_has_no_point_of_training() -> None:
    points = [Point(name, value, 1, 0) for name, value in (("val/bleu", 2.0), ("test/bleu", 3.0))]
    assert points_of_checkpoint(points, {**FACTS, "score": 2.75}) == points[1:]
    assert points_of_checkpoint(points, {**FACTS, "score": 2.0, "loss": None}) == points


@pytest.mark.parametrize(("higher", "best"), [("true", 2), ("false", 3)])
def test_the_best_of_equals_is_the_first(higher: str, best: int) -> None:
    scores = {1: "nan", 2: "5.0", 3: "1.0", 4: "5.0", 5: "1.0", 6: "edited"}
    versions = [
        SimpleNamespace(version=number, tags={"lslm.score": score, "lslm.higher_is_better": higher})
        for number, score in scores.items()
    ]
    assert best_of(versions).version == best
