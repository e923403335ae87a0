"""A trained run as a system: what is on record of how it answers."""

from types import SimpleNamespace

import pytest

from lslm_lightning.decoding import Beam, CtcGreedy, Greedy
from lslm_lightning.systems.checkpoint import Checkpoint
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
