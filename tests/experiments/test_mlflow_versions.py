"""Versions of a registered model: which are comparable, and what is said of them afterwards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lslm_lightning.experiments.mlflow_model import model_facts
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.callbacks.kept_checkpoints import FINAL
from lslm_lightning.training.task import Task
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
