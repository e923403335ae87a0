"""The training curve: every step is in one point, whatever the number of steps, validations and
stops.
"""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import Logger

from lslm_lightning.training.callbacks import training_display
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.callbacks.curve import TrainingCurve
from lslm_lightning.training.callbacks.interruption import Interruption
from lslm_lightning.training.callbacks.progress import Reporter
from lslm_lightning.training.signals import Interrupted
from lslm_lightning.training.work import TrainingWork
from tests.training.conftest import fit, translation_task
from tests.training.test_interruption import SignalAt

pytestmark = pytest.mark.slow


class Curve(Logger):
    """Keeps what is logged, by step."""

    name = "curve"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[int, dict[str, float]] = {}

    def log_hyperparams(self, *arguments: object) -> None: ...

    def log_metrics(self, metrics, step=None) -> None:
        if "train/tokens" in metrics:
            assert step not in self.points, "one point a step"
            self.points[step] = {name: metrics[name] for name in ("train/loss", "train/tokens")}


@pytest.fixture
def trained(translation_data, tmp_path, monkeypatch):
    """Train and return the points of the curve."""

    def train(folder: str, *more, resume: bool = False, **settings) -> tuple[Curve, Reporter]:
        data = translation_data(max_tokens=60)
        curve = Curve()
        reporter = Reporter(shown=False)
        checkpoints = Checkpoints(tmp_path / folder)
        set_up = reporter.setup

        def with_curve(trainer, task, stage):
            trainer.loggers = [curve]
            set_up(trainer, task, stage)

        reporter.setup = with_curve
        last = str(checkpoints.last) if resume else None
        fit(
            translation_task(data),
            data,
            [reporter, checkpoints, Interruption(checkpoints), *more],
            ckpt_path=last,
            **settings,
        )
        return curve, reporter

    return train


CASES = [
    {"max_steps": 7},
    {"max_steps": 1},
    {"max_steps": 25},
    {"max_steps": 12, "log_every_n_steps": 5},
    {"max_steps": 12, "log_every_n_steps": 50, "limit_val_batches": 1, "val_check_interval": 4},
    {"max_steps": 12, "log_every_n_steps": 5, "limit_val_batches": 1, "val_check_interval": 3},
    {
        "max_steps": 6,
        "log_every_n_steps": 4,
        "accumulate_grad_batches": 2,
        "limit_val_batches": 1,
        "val_check_interval": 6,
    },
    {"max_steps": -1, "max_epochs": 2},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_each_step_is_in_one_point_of_the_curve(settings, trained):
    each, _ = trained("each", **settings | {"log_every_n_steps": 1})
    curve, reporter = trained("run", **settings)
    steps = list(curve.points)
    last = list(each.points)[-1]
    assert steps[-1] == last
    assert (
        curve.points[last]["train/tokens"]
        == each.points[last]["train/tokens"]
        == reporter.curve.n_token
    )
    assert reporter.curve.tokens_per_second > 0
    if (every := settings.get("log_every_n_steps", 50)) > last:
        assert len(steps) >= min(last, 10), "a curve, and no dot"
    assert set(range(every, last + 1, every)) <= set(steps)
    before = 0
    seen = 0.0
    for step in steps:  # the loss of a point is the mean over its tokens
        nats = n_token = 0.0
        for at in range(before + 1, step + 1):
            n = each.points[at]["train/tokens"] - seen
            seen = each.points[at]["train/tokens"]
            nats = nats + n * each.points[at]["train/loss"]
            n_token = n_token + n
        assert curve.points[step]["train/loss"] == pytest.approx(nats / n_token, rel=0.2)
        before = step


@pytest.fixture(scope="module")
def undisturbed():
    """The points of undisturbed runs, by settings."""
    return {}


@pytest.mark.parametrize("stop_at", [0, 4, 5, 11])
@pytest.mark.parametrize("settings", [CASES[2] | {"max_steps": 12}, CASES[4], CASES[5]], ids=str)
def test_a_run_that_is_stopped_and_resumed_has_the_same_curve(
    settings, stop_at, trained, undisturbed
):
    if str(settings) not in undisturbed:
        undisturbed[str(settings)] = trained("straight", **settings)[0].points
    straight = undisturbed[str(settings)]
    with pytest.raises(Interrupted):
        trained("stopped", first := SignalAt(stop_at), **settings)
    resumed, reporter = trained("stopped", resume=True, **settings)
    assert first.left < 0
    rest = {step: point for step, point in straight.items() if step > stop_at + 1}
    found = {step: point for step, point in resumed.points.items() if step > stop_at + 1}
    assert found == rest
    assert reporter.curve.n_token == straight[12]["train/tokens"]


def test_a_restored_curve_counts_tokens_after_its_last_point():
    stopped = TrainingCurve()
    stopped.n_token = 100
    stopped.add(torch.tensor(1.0), n_target=3, n_token=7)
    resumed = TrainingCurve()
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.n_token_restored == 107


def test_no_points_are_logged_where_none_are_wanted(trained):
    curve, reporter = trained(
        "run", max_steps=5, log_every_n_steps=0, limit_val_batches=1, val_check_interval=2
    )
    assert not curve.points
    assert reporter.curve.n_token > 0


def test_the_loss_that_is_shown_is_not_waited_for(monkeypatch):
    """On a GPU a copy is asked for at one look, and shown at a later one if it is there by then."""

    class OnDevice(torch.Tensor):
        device = torch.device("cuda")

        def __float__(self) -> float:
            raise AssertionError("reading would wait for the device")

    arrived = []
    event = SimpleNamespace(query=lambda: bool(arrived), synchronize=lambda: pytest.fail("waited"))
    monkeypatch.setattr(
        training_display, "copy_in_background", lambda loss: (torch.tensor(6.0), event)
    )
    trainer = SimpleNamespace(global_step=20, accumulate_grad_batches=1, world_size=1)
    reporter = Reporter()
    work = reporter.training.work = TrainingWork(0, 100)
    reporter.curve.add(torch.tensor(5.0), 1024, 2048)
    reporter.curve.sums.loss = torch.tensor(5.0).as_subclass(OnDevice)
    for is_there, shown in ((False, None), (False, None), (True, 6.0), (True, 6.0)):
        arrived[:] = [1] * is_there
        reporter.training.look(trainer)
        assert work.loss == shown
        assert work.tokens_per_second > 0
