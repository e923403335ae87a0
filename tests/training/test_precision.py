"""Which precision is chosen, by times that a clock of the test gives."""

import copy
import math

import pytest
import torch

from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.text.recipes import Bytes
from lslm_lightning.training.batches import PairBatch, WindowBatch
from lslm_lightning.training.precision import HALF, SINGLE, StepTimes, measure_steps, step_times
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from tasks.language_modeling.task import LanguageModelingTask
from tests.training.conftest import copies_of_tasks

pytestmark = pytest.mark.slow


class Machine:
    """A clock that goes on by what each kind of step takes, in seconds, and notes the steps.

    Args:
        first: seconds that the first step of each kind takes besides, to compile kernels.
    """

    def __init__(self, single: float, half: float, first: float = 0.0) -> None:
        self.seconds = {False: single, True: half}
        self.first = first
        self.now = 0.0
        self.steps = []

    def clock(self) -> float:
        return self.now

    def step(self, half: bool) -> None:
        self.now += self.seconds[half] + (0.0 if half in self.steps else self.first)
        self.steps.append(half)

    @property
    def times(self) -> StepTimes:
        return step_times(self.step, self.clock)


@pytest.mark.parametrize("single", [0.002, 0.08, 3.0])
@pytest.mark.parametrize(
    ("share", "chosen"),
    [
        (0.5, HALF),
        (0.89, HALF),
        (0.91, SINGLE),
        (0.95, SINGLE),
        (1.05, SINGLE),
        (5.9, SINGLE),
        (90, SINGLE),
    ],
)
def test_bfloat16_is_chosen_where_a_step_takes_at_most_nine_tenths(single, share, chosen):
    machine = Machine(single, share * single, first=2 * single)
    assert machine.times.faster == chosen


def test_kernels_that_are_compiled_first_decide_nothing():
    machine = Machine(0.01, 0.005, first=0.5)
    assert machine.times.faster == HALF


def test_other_work_that_slows_some_steps_decides_nothing():
    machine = Machine(0.08, 0.04)
    busy = iter([0.0, 0.0, 0.05, 0.09, 0.0, 0.09, 0.03, 0.0, *[0.1] * 20])

    def step(half):
        machine.step(half)
        machine.now += next(busy)

    assert step_times(step, machine.clock).faster == HALF


def test_measuring_is_short_also_where_bfloat16_is_ninety_times_slower():
    machine = Machine(0.08, 7.2)
    assert machine.times.faster == SINGLE
    assert len(machine.steps) == 2, "a first step that takes so long is not repeated"
    assert Machine(0.001, 0.0005).times.faster == HALF
    slow = Machine(2.0, 1.0)
    assert slow.times.faster == HALF
    assert slow.now == 6.0, "one step to warm up and one to time, of each kind"


@pytest.mark.parametrize("n_done", [0, 3])
def test_a_step_that_cannot_be_done_in_bfloat16_is_no_error(n_done):
    """oneDNN has no such LSTM, say; what fails in float32 too is an error of the model."""
    machine = Machine(0.08, 0.04)

    def step(half):
        if half and machine.steps.count(True) == n_done:
            raise RuntimeError("could not create a primitive descriptor")
        machine.step(half)

    assert step_times(step, machine.clock) == StepTimes(pytest.approx(0.08), math.inf)
    assert step_times(step, machine.clock).faster == SINGLE
    with pytest.raises(RuntimeError, match="of the model"):
        step_times(lambda half: (_ for _ in ()).throw(RuntimeError("of the model")))


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (StepTimes(0.078, 0.041), "a step takes 41 ms, 78 ms in float32"),
        (StepTimes(0.078, 0.37), "a step takes 78 ms, 370 ms in bfloat16"),
        (StepTimes(0.9, 7.53), "a step takes 900 ms, 7.53 s in bfloat16"),
        (StepTimes(0.078, math.inf), "a step takes 78 ms, and bfloat16 is not supported"),
    ],
)
def test_both_figures_are_told(times, line):
    assert times.timing_of(times.faster) == line


def tasks():
    """A task of each kind of batch, one of whose ids come as shape alone."""
    tokenizer = Bytes().train()
    ids = torch.randint(5, 200, (2, 7))
    pad = torch.zeros(2, 7, dtype=torch.bool)
    yield (
        SequenceToSequenceTaskOfTest(Transformer(16, 2, 1, 1), tokenizer),
        PairBatch(ids, pad, ids, 12, 14),
    )
    windows = WindowBatch(torch.zeros(2, 9, dtype=torch.int64, device="meta"), 16)
    yield LanguageModelingTask(Transformer(16, 2, 0, 1, dropout=0.5), tokenizer, context=8), windows
    carried = windows._replace(follows=True)
    yield (
        LanguageModelingTask(
            LSTM(n_encoder_layer=0, n_decoder_layer=1, d_model=16), tokenizer, context=8
        ),
        carried,
    )


class SequenceToSequenceTaskOfTest(SequenceToSequenceTask):
    """A task that is never scored."""

    @classmethod
    def metrics(cls, language):
        return []


@pytest.mark.parametrize(("task", "batch"), tasks(), ids=["pairs", "windows", "carried"])
def test_measuring_changes_nothing_of_a_run(task, batch):
    task.eval()
    before = copy.deepcopy(task.state_dict())
    state = torch.get_rng_state()
    times = measure_steps(task, batch, torch.device("cpu"))
    assert 0 < times.float32 < math.inf
    assert 0 < times.bfloat16 < math.inf
    assert torch.equal(torch.get_rng_state(), state)
    assert not task.training
    assert all(parameter.grad is None for parameter in task.parameters())
    for name, weight in task.state_dict().items():
        assert torch.equal(weight, before[name])


def test_the_copies_that_are_measured_are_freed(monkeypatch):
    copies = copies_of_tasks(monkeypatch)
    task, batch = next(tasks())
    assert measure_steps(task, batch, torch.device("cpu"))
    assert [copy() for copy in copies] == [None, None]


def test_a_device_without_autocast_is_not_measured():
    assert measure_steps(None, None, torch.device("meta")) is None
