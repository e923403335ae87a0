"""What the curve and the report say of speed."""

from types import SimpleNamespace

import pytest
import torch

from lslm_lightning.training.callbacks.progress import Reporter
from lslm_lightning.training.display import Display, line_interval
from lslm_lightning.training.work import Work
from tests.training.test_status_line import Clock


@pytest.mark.parametrize("world", [1, 2])
def test_tokens_of_all_ranks_are_counted(world):
    logged = []
    trainer = SimpleNamespace(
        world_size=world,
        strategy=SimpleNamespace(
            root_device=torch.device("cpu"),
            distributed_sampler_kwargs={"rank": 0, "num_replicas": world},
        ),
        global_step=1,
        accumulate_grad_batches=1,
        log_every_n_steps=1,
        is_global_zero=False,
        fit_loop=SimpleNamespace(
            _should_accumulate=lambda: False,
            epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False)),
        ),
        callback_metrics={},
        optimizers=[torch.optim.SGD([torch.zeros(1)], 0.1)],
        loggers=[SimpleNamespace(log_metrics=lambda metrics, step: logged.append(metrics))],
        state=SimpleNamespace(fn="fit"),
        num_val_batches=[1],
    )
    task = SimpleNamespace(global_step=0, n_step=1000)
    reporter = Reporter(shown=False)
    reporter.curve.sums.distributed_available_fn = lambda: world > 1
    reporter.curve.sums.dist_sync_fn = lambda own, group: [own] * world  # ranks that do the same
    assert reporter.curve.tokens_per_second is None
    batch = SimpleNamespace(n_token=30, n_source_token=12)
    outputs = {"loss": torch.tensor(1.0)}
    reporter.on_train_start(trainer, task)
    reporter.on_train_batch_end(trainer, task, outputs, batch, 0)
    assert logged[0]["train/tokens"] == reporter.curve.n_token == 42 * world
    assert reporter.curve.tokens_per_second == pytest.approx(logged[0]["train/tokens_per_second"])
    trainer.log_every_n_steps = 100
    reporter.on_train_batch_end(trainer, task, outputs, batch, 1)
    reporter.on_validation_start(trainer, task)
    assert reporter.curve.n_token == 84 * world


LINES = [
    (0, 4, 16.0, "test batch 0/4  0:16 elapsed"),
    (1, 55, 3.0, ""),
    (1, 55, 20.0, "test batch 1/55  0:20 elapsed  18:00 left"),
    (50, 55, 100.0, "test batch 50/55  1:40 elapsed  0:10 left"),
    (10, 1000, 3600.0, "test batch 10/1,000  1:00:00 elapsed  99:00:00 left"),
    (55, 55, 100.0, ""),
    (0.25, 1, 20.0, "test batch 1/1 at 25%  0:20 elapsed  1:00 left"),
    (3.5, 4, 70.0, "test batch 4/4 at 50%  1:10 elapsed  0:10 left"),
]


@pytest.mark.parametrize(("done", "total", "seconds", "line"), LINES)
def test_a_log_says_now_and_then_how_long_the_rest_takes(done, total, seconds, line, capsys):
    clock = Clock()
    display = Display(clock=clock)
    work = Work("test batch", total, clock=clock)
    display.show(work)
    clock.seconds = seconds
    work.update(done)
    display.tell(work)
    assert capsys.readouterr().out.strip() == line
    display.tell(work)
    assert not capsys.readouterr().out, "the next line comes later"


def test_long_work_prints_fewer_lines():
    assert [line_interval(seconds) for seconds in (0, 600, 3600, 36_000)] == [15, 15, 72, 300]


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of all progress."""
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    for shown in (Work, Display):
        monkeypatch.setattr(
            shown.__init__, "__defaults__", (*shown.__init__.__defaults__[:-1], clock)
        )
    return clock


def test_validations_and_tests_say_how_long_they_take(clock, capsys):
    trainer = SimpleNamespace(
        is_global_zero=True, num_test_batches=[4], num_predict_batches=[4], num_val_batches=[4]
    )
    trainer.state = SimpleNamespace(fn="validate")
    trainer.sanity_checking = False
    reporter = Reporter()
    told = []
    task = SimpleNamespace()

    def take(what, step, n=4):
        for i in range(n):
            clock.seconds += 20
            step(i)
        told.append((what, capsys.readouterr().out.splitlines()))

    for what in ("test", "predict", "validation"):
        getattr(reporter, f"on_{what}_start")(trainer, task)
        end = getattr(reporter, f"on_{what}_batch_end")
        take(what, lambda i, end=end: end(trainer, task, None, None, i))
    batches = reporter.answering(trainer, "abcd")
    assert next(batches) == "a"
    take("answers", lambda i: next(batches), 3)
    assert [what for what, _ in told] == ["test", "predict", "validation", "answers"]
    expected = [
        "1/4  0:20 elapsed  1:00 left",
        "2/4  0:40 elapsed  0:40 left",
        "3/4  1:00 elapsed  0:20 left",
    ]
    for _, lines in told:
        assert [line.partition(" batch ")[2] for line in lines] == expected


def test_a_test_of_one_long_text_tells_how_long_it_takes(clock, capsys):
    trainer = SimpleNamespace(is_global_zero=True, num_test_batches=[1], num_predict_batches=[1])
    reporter = Reporter()
    task = SimpleNamespace()
    for what in ("test", "predict"):
        getattr(reporter, f"on_{what}_start")(trainer, task)
        for share in (0.0, 0.25, 0.5, 1.0):
            task.on_scored(share)
            clock.seconds += 20
        getattr(reporter, f"on_{what}_end")(trainer, task)
        assert task.on_scored is None
        assert capsys.readouterr().out.splitlines() == [
            f"{what} batch 1/1 at 25%  0:20 elapsed  1:00 left",
            f"{what} batch 1/1 at 50%  0:40 elapsed  0:40 left",
        ]
