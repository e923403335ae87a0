"""Versions of a registered model: which are comparable, and what is said of them afterwards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lslm_lightning.experiments import run_report, synchronization
from lslm_lightning.experiments.mlflow_model import SERVED, model_facts
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.integrity import weights_digest
from lslm_lightning.runs.own_runs import register_run
from lslm_lightning.tracking import Tracker, TrackingError
from lslm_lightning.training.callbacks.kept_checkpoints import FINAL
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.task import TranslationTask
from tests.training.tiny_tasks import tokenizer_of


def language_model(letters: str = "abc de", **settings: Any) -> Task:
    backbone = Transformer(8, 2, 0, 1, dropout=0.0)
    return LanguageModelingTask(backbone, tokenizer_of(letters), **{"context": 16, **settings})


def translator(letters: str = "abc de") -> Task:
    return TranslationTask(Transformer(8, 2, 1, 1, dropout=0.0), tokenizer_of(letters))


@pytest.fixture
def directory(project: Path, empty_store: Path) -> RunDirectory:
    """A run with a best checkpoint, in a project with a store."""
    shutil.copy(empty_store, project)
    directory = RunDirectory(Path("runs/toy/a-1"))
    directory.checkpoints.mkdir(parents=True)
    directory.config.write_text("model: {class_path: a.B}\n")
    directory.best.write_bytes(b"first")
    return directory


@pytest.fixture
def conditions(directory: RunDirectory) -> Callable[[Task], str | None]:
    """Conditions under which the checkpoint of a task was validated, always on the same texts."""

    def find(task: Task) -> str | None:
        measured = {"metric": task.monitor, "examples": "3 with digest 0"}
        record = {"step": 1, "best_score": 1.0, "measured": measured}
        (directory.checkpoints / FINAL).write_text(json.dumps(record))
        found: str | None = model_facts(task, directory, None, None)["conditions"]
        return found

    return find


def test_losses_are_comparable_only_per_equal_token_and_window(
    conditions: Callable[[Task], str | None],
) -> None:
    tasks = [
        language_model(),
        language_model("abcdef "),
        language_model(context=8, stride=8),
        language_model(stride=4),
        language_model(stride=2),
    ]
    assert len({conditions(task) for task in tasks}) == len(tasks)
    assert conditions(language_model()) == conditions(tasks[0]) is not None
    # BLEU is of texts
    assert conditions(translator()) == conditions(translator("abcdef ")) is not None


def facts_of(directory: RunDirectory, name: str) -> JsonObject:
    facts = {"checkpoint": weights_digest(directory.best), "registered": name, "metric": "val/bleu"}
    facts |= {"score": 1.0, "loss": None, "higher_is_better": True, "conditions": "c"}
    return facts | {name: [] for name in SERVED}


def write(folder: Path, facts: JsonObject, directory: RunDirectory) -> str:
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    return "d" * 64


def job_of(directory: RunDirectory, run_id: str | None = None) -> Any:
    tracker = Tracker("toy", "a-1", directory.path, run_id=run_id, system_metrics=False)
    tracker.start()
    return SimpleNamespace(
        writer=SimpleNamespace(directory=directory, tracker=tracker),
        datamodule=SimpleNamespace(validation_examples=lambda: []),
        model=None,
        job=SimpleNamespace(registered_model="words"),
    )


def test_a_job_tells_the_version_that_it_registered_itself(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed run without a better checkpoint would tell which version was the best before."""
    monkeypatch.setattr(run_report, "model_facts", lambda *_: facts_of(directory, "words"))
    monkeypatch.setattr(run_report, "write_model", write)
    run_id = None
    for content, expected in (
        (b"first", "registered models:/words/1, which is now @best\n"),
        (b"first", ""),
        (b"second", "registered models:/words/2; @best is version 1\n"),
    ):
        directory.best.write_bytes(content)
        job = job_of(directory, run_id)
        run_id = job.writer.tracker.version
        run_report.log_model(job)
        job.writer.tracker.end("FINISHED")
        assert capsys.readouterr().out == expected


def test_sync_succeeds_where_the_best_checkpoint_is_another_one_by_now(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where training goes on after MLflow was not reachable at the end, and is killed."""
    job = job_of(directory)
    job.writer.tracker._record.begin_model(facts_of(directory, "words"))
    job.writer.tracker.end("FINISHED")
    synchronization.sync(directory)
    assert "is not registered as words: config.yaml" in capsys.readouterr().out
    register_run(directory.config)
    directory.best.write_bytes(b"second")
    synchronization.sync(directory)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "best.ckpt is another one" in line
    assert f"lslm resume {directory.path}\n" in line
    assert job.writer.tracker.client.search_model_versions("name='words'") == []

    def fail(folder: Path, facts: JsonObject, directory: RunDirectory) -> None:
        raise ValueError("no code for mine.Model")

    directory.best.write_bytes(b"first")
    monkeypatch.setattr("lslm_lightning.experiments.mlflow_model.write_model", fail)
    with pytest.raises(TrackingError, match=r"the model words; .*no code for mine\.Model"):
        synchronization.sync(directory)
