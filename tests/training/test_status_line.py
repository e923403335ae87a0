"""The line that says how far some work is."""

import pytest

from lslm_lightning.training.status_line import ASCII_BAR, Part, clock_time, fit_line, short_count
from lslm_lightning.training.work import TrainingWork, Work


class Clock:
    """Shows what it is set to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def training(clock: Clock, step: int = 12_340, total: int = 200_000) -> TrainingWork:
    """A long training with all that a line can say."""
    work = TrainingWork(0, total, 500, clock=clock)
    for done, seconds in ((1, 5), (2, 6), (step, 7200)):
        clock.seconds = seconds
        work.update(done)
    work.loss = 12.3456
    work.tokens_per_second = 123_456.0
    work.scores = {"val/bleu": 38.123, "val/loss": 2.5, "val/chrf": 60.0}
    return work


@pytest.mark.parametrize("width", range(1, 200))
def test_a_line_fits_any_width(width):
    for work in (training(Clock()), Work("validation answers batch", 4321, clock=Clock())):
        line = work.line(width)
        assert len(line) <= width
        assert "\n" not in line


@pytest.mark.parametrize("width", [77, 78, 100, 117, 118, 200])
@pytest.mark.parametrize(
    ("step", "total"), [(7, 40), (123, 800), (12_340, 200_000), (999_999, 1_000_000)]
)
def test_at_80_and_120_columns_all_that_matters_is_there(width, step, total):
    clock = Clock()
    work = training(clock, step, total)
    line = work.line(width)
    assert f"{step:,}/{total:,}" in line
    assert "2:00:00" in line
    assert f"{clock_time(work.left())} left" in line
    assert "loss 12.346" in line
    assert "tok" in line
    assert width < 117 or "val/BLEU 38.123" in line


def test_what_matters_least_goes_first():
    work = training(Clock())
    lines = [work.line(width) for width in range(200, 20, -1)]
    order = (
        "val/chrF",
        "val/loss",
        "val/BLEU",
        "elapsed",
        "tokens/s",
        "step",
        "tok",
        "2:00:00",
        "loss",
        "left",
    )
    gone = [
        next((i for i, line in enumerate(lines) if name not in line), len(lines)) for name in order
    ]
    assert gone == sorted(gone)


@pytest.mark.parametrize("done", [0, 1, 50, 99, 100])
def test_a_bar_has_the_share_that_is_done(done):
    line = fit_line([Part(("work",)), Part(("end",))], 40, done / 100, ASCII_BAR)
    head, bar, end = line.split("  ")
    assert (head, end) == ("work", "end")
    assert len(bar) == 24
    assert bar == "#" * round(0.24 * done) + "-" * (24 - round(0.24 * done))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
        (360_000, "100:00:00"),
        (-3, "0:00"),
    ],
)
def test_times_are_written_as_clocks_do(seconds, shown):
    assert clock_time(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (12_345, "12.3k"),
        (99_950, "100k"),
        (999_600, "1.00M"),
        (5e9, "5.00G"),
    ],
)
def test_counts_are_short(number, shown):
    assert short_count(number) == shown
    assert len(short_count(number)) <= 5


def test_the_time_left_of_a_training_leaves_out_its_first_step_and_counts_validations():
    clock = Clock()
    work = TrainingWork(0, 100, 10, clock=clock)
    assert work.left() is None
    clock.seconds = 60.0  # the first step warms up
    work.update(1)
    assert work.left() == 60.0 * 99
    for step in range(2, 11):
        clock.seconds += 2
        work.update(step)
    assert work.left() == pytest.approx(2 * 90)
    work.begin_validation()
    clock.seconds += 30
    assert work.left() == pytest.approx(2 * 90), "no validation has ended yet"
    work.end_validation()
    assert work.left() == pytest.approx(2 * 90 + 30 * 9)
    clock.seconds += 1
    assert work.left() == pytest.approx(2 * 90 + 30 * 9 - 1), "it counts down between two steps"
    clock.seconds += 1
    work.update(11)
    assert work.left() == pytest.approx(2 * 89 + 30 * 9)


def test_the_time_left_follows_a_machine_that_becomes_slower():
    clock = Clock()
    work = TrainingWork(0, 10_000, clock=clock)
    for step in range(1, 1001):
        clock.seconds += 1 if step <= 500 else 4
        work.update(step)
    assert work.step_seconds == pytest.approx(4)


def test_a_training_ends_by_its_deadline():
    clock = Clock()
    work = TrainingWork(0, 1000, clock=clock)
    work.deadline = 60.0
    assert work.left() == 60
    for step in range(1, 11):
        clock.seconds += 1
        work.update(step)
    assert work.left() == 50
    work.deadline = 1e6
    assert work.left() == 990


def test_steps_that_were_done_before_say_nothing_of_the_speed():
    clock = Clock()
    work = TrainingWork(900, 1000, clock=clock)
    for step in range(901, 911):
        clock.seconds += 3
        work.update(step)
    assert work.left() == pytest.approx(3 * 90)


def test_micro_batches_of_a_long_first_step_tell_the_time_left():
    clock = Clock()
    work = TrainingWork(0, 10, clock=clock)
    clock.seconds = 8.0
    work.update(0.25)
    assert work.left() == pytest.approx(8.0 / 0.25 * 9.75)
    assert work.line().startswith("step 0/10  0:08 elapsed  5:12 left")


@pytest.mark.parametrize(("total", "done"), [(None, 7), (5, 7), (5, 0)])
def test_what_nobody_knows_is_not_told(total, done):
    clock = Clock()
    for work in (Work("rows", total, clock=clock), TrainingWork(0, total, clock=clock)):
        clock.seconds += 9
        work.update(done)
        assert "left" not in work.line()
        assert "left" not in work.line(80)
