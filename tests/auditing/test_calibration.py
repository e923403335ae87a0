"""A model is calibrated on texts that it wrote itself, and over-confident if it is sharpened."""

import numpy as np
import pytest
import torch

from lslm_lightning.auditing.calibration import TokenCalibration, calibration
from tests.training.tiny_tasks import N_POSITION, gpt2_task

N_ROW = 400


@pytest.fixture(scope="module")
def written():
    """A model, and rows of ids drawn from it."""
    task, _ = gpt2_task()
    torch.manual_seed(0)
    ids = torch.full((N_ROW, 1), task.tokenizer.eos_id)
    with torch.inference_mode():
        for _ in range(N_POSITION - 1):
            probabilities = task.logits(ids)[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(probabilities, 1)], 1)
    return task, [row[: 3 + i % (N_POSITION - 3)] for i, row in enumerate(ids.tolist())]


def test_a_model_is_calibrated_on_its_own_texts(written):
    task, rows = written
    found = calibration(task, rows)
    n, confidence, correct = (each.sum() for each in found)
    assert n == sum(len(row) - 1 for row in rows)
    spread = np.sqrt(confidence * (1 - confidence / n))  # at most that of a binomial
    assert abs(confidence - correct) < 3 * spread
    assert found.error()[0] >= abs(found.gap()[0]) - 1e-9


def test_a_sharpened_model_is_over_confident(written, monkeypatch):
    task, rows = written
    plain = calibration(task, rows)
    logits = task.logits
    monkeypatch.setattr(task, "logits", lambda ids: 4 * logits(ids))
    sharp = calibration(task, rows)
    assert sharp.gap()[0] > 5 > abs(plain.gap()[0])
    assert sharp.error()[0] > plain.error()[0]
    monkeypatch.setattr(task, "logits", lambda ids: logits(ids) / 4)
    assert calibration(task, rows).gap()[0] < 0


def test_the_error_is_the_weighted_distance_of_the_bins():
    """By hand: 4 tokens at 0.5 of which 1 is right, 6 at 0.9 of which all are; and one text twice
    and the other never.
    """
    n, confidence, correct = np.zeros((3, 2, 15))
    n[0, 7], confidence[0, 7], correct[0, 7] = 4, 2.0, 1
    n[1, 13], confidence[1, 13], correct[1, 13] = 6, 5.4, 6
    found = TokenCalibration(n, confidence, correct)
    assert found.error()[0] == pytest.approx(100 * (1.0 + 0.6) / 10)
    assert found.gap()[0] == pytest.approx(100 * (1.0 - 0.6) / 10)
    assert found.error(np.array([[2.0, 0.0]]))[0] == pytest.approx(25)
