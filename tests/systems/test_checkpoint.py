"""A trained run as a system: what is on record of how it answers."""

import json
from types import SimpleNamespace

import pytest

from lslm_lightning.decoding import Beam, CtcGreedy, Greedy
from lslm_lightning.runs import RunDirectory
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.purpose import languages_of_answers
from lslm_lightning.training.answering import Answering


class SearchingTask:
    """A task with a search and the most tokens of an answer."""

    model_info = SimpleNamespace(n_parameter=1, n_byte=4)

    def __init__(self, search, max_length=None):
        self.search = search
        self.max_length = max_length
        self.answering = Answering(self)


@pytest.mark.parametrize(
    ("task", "limit"),
    [
        (SearchingTask(Greedy(), max_length=128), "max_length=128"),
        (SearchingTask(Beam(4), max_length=7), "max_length=7"),
        (SearchingTask(CtcGreedy(), max_length=128), None),  # CTC writes what the frames say
        (SearchingTask(None), None),  # spans are cut nowhere
    ],
)
def test_where_answers_are_cut_is_on_record(task, limit):
    system = Checkpoint("a run")
    system.__dict__["loaded"] = SimpleNamespace(task=task, checkpoint="best.ckpt")
    assert system.info().get("limit") == limit


def test_a_run_answers_in_the_languages_of_its_test(project):
    run = RunDirectory(project)
    config = {"model": {"class_path": "tasks.question_answering.extractive.task.ExtractiveTask"}}
    assert languages_of_answers(run, config) is None, "neither stated nor tested"
    run.metrics.write_text(json.dumps({"data": {"languages": "und-Latn"}}))
    assert languages_of_answers(run, config) == ("und-Latn", "und-Latn")
    run.metrics.write_text(json.dumps({"data": {"languages": "en-de"}}))
    assert languages_of_answers(run, config) == ("en", "de")
    config["data"] = {"init_args": {"language": "fra"}}
    assert languages_of_answers(run, config) == ("fr", "fr")
    config["data"] = {"init_args": {"source_language": "en", "target_language": "zh"}}
    assert languages_of_answers(run, config) == ("en", "zh")
