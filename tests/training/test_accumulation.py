"""What a validation adds up is the same on one process and on two, and each example counts once."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.training.accumulation import CorpusStatistics, MeanNats, TrainingSums
from tests.training.conftest import fit, translation_task

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "runs", "far", "away", "from", "here"]
EXAMPLES = [
    Example(str(i), "", (" ".join(RNG.choice(WORDS, RNG.integers(4, 9))),)) for i in range(7)
]
PREDICTIONS = [
    Prediction(e.id, " ".join([*e.references[0].split()[1:], *RNG.choice(WORDS, 2)]))
    for e in EXAMPLES
]
BATCHES = [(torch.tensor(x), n) for x, n in [(3.7, 4), (1e-3, 1), (255.123, 190), (17.1, 12)]]


def in_two_processes(work: Callable[[int], object], folder: Path) -> list:
    """Return what `work(rank)` gives in each of two processes."""

    def run(rank: int) -> None:
        torch.distributed.init_process_group(
            "gloo", f"file://{folder / 'store'}", rank=rank, world_size=2
        )
        torch.save(work(rank), folder / f"{rank}.pt")
        torch.distributed.destroy_process_group()

    multiprocessing.start_processes(run, nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def mean_of(batches, n_alike=1):
    metric = MeanNats()
    metric.n_alike = n_alike
    metric.update(torch.zeros(()), 0)
    for nats, n_token in batches:
        metric.update(nats, n_token)
    return float(metric.compute()), metric.totals


def test_the_mean_is_of_tokens_not_of_batches():
    value, (nats, n_token) = mean_of(BATCHES)
    assert nats == math.fsum(float(x.double()) for x, _ in BATCHES)
    assert n_token == sum(n for _, n in BATCHES)
    assert value == float(np.float32(nats / n_token))
    assert mean_of(BATCHES[:0]) == (0.0, (0.0, 0))


def test_two_processes_have_the_mean_of_one(tmp_path):
    alike = tmp_path / "alike"
    alike.mkdir()
    shares = in_two_processes(lambda rank: mean_of(BATCHES[rank::2]), tmp_path)
    assert shares == [mean_of(BATCHES)] * 2
    same = in_two_processes(lambda rank: mean_of(BATCHES, n_alike=2), alike)
    assert same == [mean_of(BATCHES)] * 2


def sums_of(steps):
    sums = TrainingSums()
    for loss, n in steps:
        sums.update(loss, n, 2 * n)
    clone = sums.clone()
    clone.update(None, 0, 0)
    return clone.compute().tolist(), sums.has_loss


def test_the_sums_of_a_curve_are_of_all_processes(tmp_path):
    wanted = [math.fsum(float(x.double()) for x, _ in BATCHES), 207.0, 414.0]
    assert sums_of(BATCHES) == (wanted, True)
    assert (
        in_two_processes(lambda rank: sums_of(BATCHES[rank::2]), tmp_path) == [(wanted, True)] * 2
    )
    assert sums_of([(None, 5)]) == ([0.0, 5.0, 10.0], False)
    sums = TrainingSums()
    sums.update(torch.tensor(2.0), 1, 1)
    sums.reset()
    assert (sums.has_loss, float(sums.loss), int(sums.n_token)) == (False, 0.0, 0)


def statistics_of(metric, *updates, n=None):
    width = len(metric.statistics(EXAMPLES[0], PREDICTIONS[0]))
    state = CorpusStatistics(metric, EXAMPLES[:n], width)
    for predictions in updates:
        state.update(predictions)
    return state.compute()


@pytest.mark.parametrize("metric", [Bleu(), Rouge("L")], ids=lambda m: m.name)
def test_an_example_counts_once_however_often_and_wherever_it_is_answered(metric, tmp_path):
    wanted = metric.rows(EXAMPLES, PREDICTIONS)
    assert np.array_equal(statistics_of(metric, PREDICTIONS), wanted)
    assert np.array_equal(statistics_of(metric, PREDICTIONS[:1], n=1), wanted[:1])
    again = statistics_of(metric, PREDICTIONS[3:], PREDICTIONS[:4], PREDICTIONS[3:4])
    np.testing.assert_allclose(again, wanted, rtol=1e-7)
    # a sampler repeats the first, so that both processes have four
    shares = [PREDICTIONS[0::2], [*PREDICTIONS[1::2], PREDICTIONS[0]]]
    found = in_two_processes(lambda rank: statistics_of(metric, shares[rank]), tmp_path)
    assert all(np.array_equal(rows, wanted) for rows in found)


def test_states_are_no_part_of_a_checkpoint_and_keep_their_precision():
    metric = MeanNats()
    metric.update(torch.tensor(2.0), 3)
    assert not metric.state_dict()
    moved = copy.deepcopy(metric).to(torch.bfloat16)
    moved.reset()
    for _ in range(300):
        moved.update(torch.tensor(1.0), 1)
    assert float(moved.compute()) == 1.0
    assert moved.totals == (300.0, 300)


def test_a_validation_logs_the_objects(translation_data):
    data = translation_data(n_validation_example=3)
    task = translation_task(data)
    trainer = fit(task, data, max_steps=2, limit_val_batches=1.0, val_check_interval=2)
    nats = sum(float(task.eval().loss(batch).double()) for batch in data.val_dataloader())
    n_token = sum(batch.n_token for batch in data.val_dataloader())
    logged = trainer.callback_metrics
    assert float(logged["val/loss"]) == pytest.approx(nats / n_token, rel=1e-5)
    assert {f"val/{m.name}" for m in task.answering.all_metrics("zh")} <= logged.keys()
    assert logged["val/loss"].dtype == torch.float32
    assert not [name for name in task.state_dict() if name.startswith("validation_loss")]
