"""Names of the last release: all have a successor, and all roads to a setting know it."""

import warnings
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import torch

from lslm_lightning.configuration.renamed_arguments import renamed_arguments
from lslm_lightning.renamed import CLASS_PATHS, KEYS, VALUES, renamed, renamed_weights
from lslm_lightning.text.yaml_files import CatalogueLoader, ParserLoader, parse_yaml
from tasks.question_answering.extractive.data import SpanData
from tasks.question_answering.extractive.task import SpanTask
from tasks.speech_recognition.data import SpeechData

OWNERS = {"data": (SpanData, SpeechData), "model": (SpanTask,)}
OLD = {
    "model": {
        "class_path": "tasks.question_answering.spans.SpanTask",
        "init_args": {"has_hints": True, "judge": "tasks.question_answering.judge.Judge"},
    },
    "data": {"class_path": "mine.Data", "unreadable": "leave out", "exam_tokens": 7},
    "base": {"data.exam_tokens": 7, "model.init_args.has_hints": False},
    "callbacks": [{"class_path": "lslm_lightning.optim.Trapezoid", "init_args": {"decay": 0.2}}],
}
NEW = {
    "model": {
        "class_path": "tasks.question_answering.extractive.task.SpanTask",
        "init_args": {
            "overlap_features": True,
            "answerability_head": (
                "tasks.question_answering.extractive.answerability.AnswerabilityHead"
            ),
        },
    },
    "data": {"class_path": "mine.Data", "on_unreadable": "skip", "eval_batch_tokens": 7},
    "base": {"data.eval_batch_tokens": 7, "model.init_args.overlap_features": False},
    "callbacks": [
        {"class_path": "lslm_lightning.optim.WarmupStableDecay", "init_args": {"decay": 0.2}}
    ],
}


def imported(path: str) -> object:
    """Return what stands at an import path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("old", "new"), CLASS_PATHS.items())
def test_a_class_has_moved(old: str, new: str) -> None:
    assert isinstance(imported(new), type)
    with pytest.raises((ImportError, AttributeError)):
        imported(old)


@pytest.mark.parametrize(("setting", "new"), KEYS.items())
def test_a_setting_has_a_new_name(setting: tuple[str, str], new: str) -> None:
    owner, old = setting
    if not owner:  # a key of no class
        return
    names = [signature(kind).parameters for kind in OWNERS[owner]]
    assert any(new in each for each in names)
    assert not any(old in each for each in names)


def test_the_documents_of_the_last_release_are_read() -> None:
    with pytest.warns(FutureWarning) as told:
        assert renamed(OLD) == NEW
    messages = [str(warning.message) for warning in told]
    for new in ("data.eval_batch_tokens", "SpanTask", "data.on_unreadable: skip"):
        assert any(f"`{new}`" in text or new in text for text in messages)


def test_new_documents_stay_as_they_are_and_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert renamed(NEW) == NEW
        assert renamed_arguments(["run", "--data.eval_batch_tokens", "7", "x"]) == [
            *("run", "--data.eval_batch_tokens", "7", "x")
        ]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["--data.exam_tokens", "7"], ["--data.eval_batch_tokens", "7"]),
        (["--data.init_args.exam_tokens=7"], ["--data.init_args.eval_batch_tokens=7"]),
        (["--data.unreadable=leave out"], ["--data.on_unreadable=skip"]),
        (["--data.unreadable", "refuse"], ["--data.on_unreadable", "error"]),
        (
            ["--model.schedule", "lslm_lightning.optim.Trapezoid"],
            ["--model.schedule", "lslm_lightning.optim.WarmupStableDecay"],
        ),
        (
            ["--data={class_path: mine.Data, init_args: {exam_tokens: 7, n: 值}}"],
            [
                '--data={"class_path": "mine.Data", '
                '"init_args": {"eval_batch_tokens": 7, "n": "值"}}'
            ],
        ),
        (["--data={unfinished", "--x"], ["--data={unfinished", "--x"]),
        (["refuse", "--", "--trainer.exam_tokens=1"], ["refuse", "--", "--trainer.exam_tokens=1"]),
    ],
)
def test_options_of_the_last_release_are_read(given: list[str], wanted: list[str]) -> None:
    assert renamed_arguments(given) == wanted


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_setting_by_both_names_is_refused() -> None:
    with pytest.raises(ValueError, match="exam_tokens and eval_batch_tokens"):
        renamed({"data": {"exam_tokens": 1, "eval_batch_tokens": 2}})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_configs_are_renamed_when_they_are_read_and_catalogues_are_not() -> None:
    text = "data: {exam_tokens: 7}"
    assert parse_yaml(text, ParserLoader) == {"data": {"eval_batch_tokens": 7}}
    assert parse_yaml(text) == {"data": {"eval_batch_tokens": 7}}
    assert parse_yaml(text, CatalogueLoader) == {"data": {"exam_tokens": 7}}


def test_values_are_those_of_a_new_name() -> None:
    for owner, name in VALUES:
        assert (owner, name) not in KEYS
        assert name in {new for (of, _), new in KEYS.items() if of == owner}


def test_weights_keep_their_order_and_values() -> None:
    weights = {"judge.inner.weight": torch.ones(2), "ends.bias": torch.zeros(1), "judged": "x"}
    new = renamed_weights(weights)
    assert [*new] == ["answerability_head.inner.weight", "ends.bias", "judged"]
    assert [*new.values()] == [*weights.values()]


def test_configs_of_this_release_use_no_old_name() -> None:
    configs = [*Path(__file__).parents[1].glob("configs/**/*.yaml")]
    assert configs
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        for path in configs:
            parse_yaml(path.read_text("utf-8"), ParserLoader)
