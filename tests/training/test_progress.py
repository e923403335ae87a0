"""What the curve and the report say of speed."""

from types import SimpleNamespace

import pytest
import torch

from lslm_lightning.training.progress import Reporter


@pytest.mark.parametrize("world", [1, 2])
def test_tokens_of_all_ranks_are_counted(world):
    logged = []
    trainer = SimpleNamespace(
        world_size=world,
        strategy=SimpleNamespace(
            reduce=lambda sums, reduce_op: sums * world,  # ranks that do the same
            root_device=torch.device("cpu"),
            distributed_sampler_kwargs={"rank": 0, "num_replicas": world},
        ),
        global_step=1,
        accumulate_grad_batches=1,
        log_every_n_steps=1,
        is_global_zero=False,
        fit_loop=SimpleNamespace(_should_accumulate=lambda: False),
        optimizers=[torch.optim.SGD([torch.zeros(1)], 0.1)],
        loggers=[SimpleNamespace(log_metrics=lambda metrics, step: logged.append(metrics))],
        state=SimpleNamespace(fn="fit"),
    )
    task = SimpleNamespace(check_finite=lambda nats, since: None)
    reporter = Reporter(shown=False)
    assert reporter.tokens_per_second is None
    batch, outputs = SimpleNamespace(n_token=30, n_source_token=12), {"loss": torch.tensor(1.0)}
    reporter.on_train_start(trainer, task)
    reporter.on_train_batch_end(trainer, task, outputs, batch, 0)
    assert logged[0]["train/tokens"] == reporter.n_token == 42 * world
    assert reporter.tokens_per_second == pytest.approx(logged[0]["train/tokens_per_second"])
    trainer.log_every_n_steps = 100
    reporter.on_train_batch_end(trainer, task, outputs, batch, 1)
    reporter.on_validation_start(trainer, task)
    assert reporter.n_token == 84 * world
