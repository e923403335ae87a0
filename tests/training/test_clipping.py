"""Gradients of a step are those of the mean loss per target token, clipped as torch clips them."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback

from lslm_lightning.optim import Constant
from tests.training.conftest import fit, language_task


class Batches(Callback):
    """Keeps the batches of a training."""

    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        self.batches.append(batch)


@pytest.mark.parametrize("n_batch", [1, 3])
@pytest.mark.parametrize(
    ("clip", "algorithm"), [(None, None), (0.01, "norm"), (1e6, "norm"), (0.001, "value")]
)
def test_a_step_is_that_of_the_clipped_mean_gradient(text_data, clip, algorithm, n_batch):
    data = text_data()
    settings = {"dropout": 0.0, "schedule": Constant(), "label_smoothing": 0.0}
    task = language_task(data, optimizer=partial(torch.optim.SGD, lr=1.0), **settings).double()
    expected = language_task(data, optimizer=partial(torch.optim.SGD, lr=1.0), **settings).double()
    kept = Batches()
    fit(
        task,
        data,
        [kept],
        max_steps=1,
        precision="64-true",
        accumulate_grad_batches=n_batch,
        gradient_clip_val=clip,
        gradient_clip_algorithm=algorithm,
    )
    assert len(kept.batches) == n_batch
    loss = sum(expected.loss(batch, 0.0) for batch in kept.batches)
    (loss / sum(batch.n_token for batch in kept.batches)).backward()
    if algorithm == "norm":
        torch.nn.utils.clip_grad_norm_(expected.parameters(), clip)
    elif algorithm == "value":
        torch.nn.utils.clip_grad_value_(expected.parameters(), clip)
    for trained, parameter in zip(task.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(trained, parameter - parameter.grad, rtol=1e-6, atol=1e-9)
