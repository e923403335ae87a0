"""A trained run as a system: what is on record of how it answers."""

from types import SimpleNamespace

import pytest

from lslm_lightning.decoding import Beam, CtcGreedy, Greedy
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.training.task import Task


class Answering:
    """A task with a search and the most tokens of an answer."""

    n_parameter = 1
    memory_bytes = 4
    answer_limit = Task.answer_limit

    def __init__(self, search, **settings):
        self.search = search
        self.__dict__ |= settings


@pytest.mark.parametrize(
    ("task", "limit"),
    [
        (Answering(Greedy(), max_length=128), "max_length=128"),
        (Answering(Beam(4), max_length=7), "max_length=7"),
        (Answering(CtcGreedy(), max_length=128), None),  # CTC writes what the frames say
        (Answering(None), None),  # spans are cut nowhere
    ],
)
def test_where_answers_are_cut_is_on_record(task, limit):
    system = Checkpoint("a run")
    system.__dict__["loaded"] = SimpleNamespace(task=task, checkpoint="best.ckpt")
    assert system.info().get("limit") == limit
