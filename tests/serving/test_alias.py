"""A registered name that moves to other weights is read again, and what was begun ends as it
began.
"""

import shutil
from pathlib import Path

import pytest
import torch

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.integrity import weights_digest
from lslm_lightning.serving.engine import Engine, load_model
from lslm_lightning.serving.engine_process import AliasWatch
from lslm_lightning.serving.protocol import AnswerRequest, EngineSettings
from lslm_lightning.tracking import Tracker
from tests.serving.conftest import answers_of, generated

SETTINGS = SearchSettings(search="greedy", max_length=12)


def register(run: Path, n: int) -> RunDirectory:
    """Register the checkpoint of a run as the n-th version of the model `letters`."""
    directory = RunDirectory(run)
    tracker = Tracker("letters", f"a-{n}", directory.path, system_metrics=False)
    tracker.start()
    facts = {"checkpoint": weights_digest(directory.best), "registered": "letters"}
    facts |= {"metric": "val/bleu", "score": float(n), "loss": None, "higher_is_better": True}

    def save(folder: Path, _: object) -> str:
        inside = folder / "data/run"
        shutil.copytree(run, inside)
        return weights_digest(RunDirectory(inside).best)

    tracker.log_model(facts | {"conditions": "c"}, save)
    for path in (directory.config, directory.best, directory.tokenizer):
        tracker.log_artifact(path)
    tracker.end("FINISHED")
    assert tracker.problems == []
    return directory


@pytest.mark.slow
def test_an_alias_that_moves_is_read_again(tiny_run, project, empty_store):
    shutil.copy(empty_store, project)
    runs = [Path(f"runs/letters/a-{n}") for n in (1, 2)]
    for run in runs:
        shutil.copytree(tiny_run("rotary"), run)
    checkpoint = torch.load(RunDirectory(runs[1]).best, weights_only=False)
    for weight in checkpoint["state_dict"].values():
        weight.mul_(-1.0)
    torch.save(checkpoint, RunDirectory(runs[1]).best)
    register(runs[0], 1)

    reference = "models:/letters@best"
    watch = AliasWatch([("m", reference)], EngineSettings())
    engine = Engine([load_model("m", reference, EngineSettings())])
    assert list(watch.moved()) == []
    engine.take(AnswerRequest(1, "m", source="fox", settings=SETTINGS))
    events = engine.work()

    register(runs[1], 2)
    [moved] = watch.moved()
    engine.replace(moved)
    assert list(watch.moved()) == []
    engine.take(AnswerRequest(2, "m", source="fox", settings=SETTINGS))
    while engine.is_busy:
        events += engine.work()
    found = answers_of(events)
    for id, run in enumerate(runs, 1):
        expected = generated(run, "fox", SETTINGS, is_double=False)
        assert [answer.text for answer in found[id].answers] == expected
    assert found[1].answers[0].text != found[2].answers[0].text
