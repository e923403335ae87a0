"""A signal within training: the run stops where it can go on exactly."""

import os
import signal
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from lslm_lightning.training.callbacks import checkpoints as checkpoints_module
from lslm_lightning.training.callbacks import interruption
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.callbacks.interruption import Interruption
from lslm_lightning.training.distributed import collectives
from lslm_lightning.training.distributed.collectives import LargestOfRanks
from lslm_lightning.training.signals import Interrupted, stopping_signals
from tests.support.waiting import PATIENCE
from tests.training.conftest import fit, translation_task
from tests.training.test_task import weights

pytestmark = pytest.mark.slow

COMMON = {"accumulate_grad_batches": 2, "limit_val_batches": 1.0, "val_check_interval": 4}


class SignalAt(Callback):
    """Sends this process a signal when a micro-batch begins."""

    def __init__(self, micro_batch: int) -> None:
        self.left = micro_batch

    def on_train_batch_start(self, *args: object) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        self.left -= 1


class Validations(Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer, task) -> None:
        self.steps.append(trainer.global_step)


@pytest.fixture(scope="module")
def undisturbed():
    """Weights and validated steps of an undisturbed run, by the number of workers."""
    return {}


@pytest.mark.parametrize(
    ("micro_batch", "workers"), [(0, 0), (2, 0), (3, 0), (5, 0), (6, 0), (2, 1), (5, 1)]
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    micro_batch, workers, translation_data, tmp_path, undisturbed
):
    """In the middle of an accumulation window, and where a validation is due, too."""

    def run(folder, max_steps, *more, **settings):
        data = translation_data(max_tokens=60, num_workers=workers)
        task = translation_task(data)
        checkpoints = Checkpoints(tmp_path / folder)
        seen = Validations()
        ending = (
            pytest.raises(Interrupted, match=r"interrupted by SIGTERM at step .*kept")
            if more
            else nullcontext()
        )
        with ending:
            fit(
                task,
                data,
                [checkpoints, Interruption(checkpoints), seen, *more],
                max_steps=max_steps,
                **COMMON,
                **settings,
            )
        return task, seen.steps, checkpoints

    before = signal.getsignal(signal.SIGTERM)
    if workers not in undisturbed:
        task, steps, _ = run("a", 7)
        undisturbed[workers] = weights(task), steps
    straight, validated = undisturbed[workers]
    _, first, checkpoints = run("b", 7, SignalAt(micro_batch))
    assert signal.getsignal(signal.SIGTERM) == before
    resumed, second, _ = run("b", 7, ckpt_path=str(checkpoints.last))
    assert first + second == validated
    assert torch.equal(weights(resumed), straight)


def test_a_closed_terminal_stops_a_run_unless_nohup_was_asked_for():
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, stops in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, handler)
            assert (signal.SIGHUP in stopping_signals()) == stops
            assert {signal.SIGINT, signal.SIGTERM} <= set(stopping_signals())
    finally:
        signal.signal(signal.SIGHUP, before)


class SignalInValidation(Callback):
    """Sends this process a signal in a validation that does not end."""

    def on_validation_start(self, *args: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        threading.Event().wait(PATIENCE)
        pytest.fail("the validation was not left")


@pytest.mark.parametrize(
    ("settings", "told"), [({}, "nothing was saved yet"), ({"every_steps": 1}, "kept .*last.ckpt")]
)
def test_a_long_validation_is_left_in_time(settings, told, translation_data, tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "STOP_SECONDS", 0.5)
    data = translation_data()
    checkpoints = Checkpoints(tmp_path, **settings)
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGALRM)}
    with pytest.raises(
        Interrupted, match=f"SIGUSR1; no step ended in 0.5 seconds; {told}"
    ) as stopped:
        fit(
            translation_task(data),
            data,
            [checkpoints, Interruption(checkpoints), SignalInValidation()],
            max_steps=7,
            **COMMON,
        )
    assert stopped.value.signum == signal.SIGUSR1
    assert before == {number: signal.getsignal(number) for number in before}
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_save_is_not_cut_short(translation_data, tmp_path, monkeypatch):
    """The time to stop is over while a state is written."""
    monkeypatch.setattr(interruption, "STOP_SECONDS", PATIENCE)
    save = checkpoints_module.save_atomically

    def slowly(*arguments):
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        signal.raise_signal(signal.SIGALRM)
        save(*arguments)

    left: list[float] = []

    monkeypatch.setattr(checkpoints_module, "save_atomically", slowly)
    data = translation_data(max_tokens=60)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(Interrupted, match=r"interrupted by SIGTERM at step \d+; kept"):
        fit(
            translation_task(data),
            data,
            [checkpoints, Interruption(checkpoints), SignalAt(1)],
            max_steps=7,
            **COMMON,
        )
    assert checkpoints.last.exists()
    assert 0 < left[0] <= PATIENCE, "the alarm is set"


def test_ranks_on_gpus_agree_a_step_later(monkeypatch):
    """Nobody waits for the answer; what was wished before a save does not bring a second one."""
    brought = []
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda tensor, op: brought.append(int(tensor))
    )
    cpu = torch.device("cpu")
    largest = LargestOfRanks()
    assert [largest(number, cpu) for number in (0, 3, 0)] == [0, 3, 0], "a processor has it at once"
    monkeypatch.setattr(collectives, "is_asynchronous", lambda device: True)
    monkeypatch.setattr(
        collectives,
        "copy_in_background",
        lambda tensor: (tensor.clone(), SimpleNamespace(synchronize=lambda: None)),
    )
    assert [largest(number, cpu) for number in (0, 3, 0, 0)] == [0, 0, 3, 0]
    assert [largest(1, cpu), largest(1, cpu)] == [0, 1]
    largest.forget()
    assert [largest(0, cpu), largest(0, cpu)] == [0, 0]
    assert largest(2, cpu, at_once=True) == 2
    assert largest(0, cpu) == 0
    assert brought == [0, 3, 0, 0, 3, 0, 0, 1, 1, 0, 0, 2, 0], "every rank takes part every time"
