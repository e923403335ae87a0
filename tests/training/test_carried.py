"""Recurrent language models: state that is carried from batch to batch, and through a text."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.nn import functional as F

from lslm_lightning.decoding import Greedy
from lslm_lightning.models.recurrent import GRU, LSTM, RNN
from lslm_lightning.optim import Constant
from lslm_lightning.training.budget import Budget
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.token_gradients import LOSS_DIVISOR
from tasks.language_modeling.task import LanguageModelingTask
from tests.training.conftest import fit, language_task

KINDS = {RNN: nn.RNN, GRU: nn.GRU, LSTM: nn.LSTM}
RATE = 0.5


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=RATE)


PLAIN = {"dropout": 0.0, "optimizer": sgd, "schedule": Constant(0)}


def recurrent_task(data, kind=LSTM, dropout=0.2, **settings):
    torch.manual_seed(0)
    return LanguageModelingTask(
        kind(16, 0, 2, dropout), data.tokenizer, **{"context": 16, **settings}
    )


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.parameters()])


class Curve(Callback):
    """Nats per token of each step."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item() * LOSS_DIVISOR / batch.n_token)


class Plain(nn.Module):
    """The plain model: token vectors, torch's own stack of layers, the vectors again."""

    def __init__(self, task, kind):
        super().__init__()
        self.vectors = nn.Parameter(task.embedding.weight.detach().clone())
        self.layers = kind(16, 16, 2, batch_first=True).double()
        for i, layer in enumerate(task.backbone.decoder):
            for name, parameter in layer.named_parameters():
                getattr(self.layers, name.replace("l0", f"l{i}")).data.copy_(parameter)

    def forward(self, ids, state):
        y, state = self.layers(F.embedding(ids[:, :-1], self.vectors), state)
        loss = F.cross_entropy(F.linear(y, self.vectors).flatten(0, 1), ids[:, 1:].flatten())
        return loss, tuple(part.detach() for part in state) if isinstance(
            state, tuple
        ) else state.detach()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_training_is_a_plain_loop_of_truncated_back_propagation(kind, text_data):
    """In float64, over more than an epoch: rows of the ring in order, the state carried and
    detached, anew where an epoch begins.
    """
    data = text_data(contiguous=True, context=16, batch_size=4)
    n_step = 40
    task = recurrent_task(data, kind, scale_embedding=False, **PLAIN).double()
    plain = Plain(task, KINDS[kind])
    losses = []
    ids = torch.tensor(np.asarray(data.packed("train").ids))[:-1].long()  # the last is the first
    n = len(ids)
    length = n // 64 * 16
    optimizer = sgd(plain.parameters())
    state = None
    for step in range(n_step):
        epoch, at = divmod(step * 16, length)
        if at == 0:
            state = None
            phase = int(np.random.default_rng((0, epoch)).integers(n))
        rows = [
            torch.arange(phase + r * length + at, phase + r * length + at + 17) % n
            for r in range(4)
        ]
        loss, state = plain(ids[torch.stack(rows)], state)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert n_step * 16 > length

    curve = Curve()
    fit(task, data, [curve], max_steps=n_step, precision="64-true")
    np.testing.assert_allclose(curve.losses, losses, rtol=0, atol=1e-11)
    torch.testing.assert_close(task.embedding.weight, plain.vectors, rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 5, 8])
def test_straight_equals_stopped_and_resumed_bit_for_bit(stop, text_data, tmp_path):
    """With dropout, accumulation, and validations in between on one side."""
    common = {"accumulate_grad_batches": 2, "max_steps": 9}
    straight = recurrent_task(text_data(contiguous=True))
    trainer = fit(straight, text_data(contiguous=True), **common)
    assert trainer.current_epoch > 0
    validated = {"limit_val_batches": 1.0, "val_check_interval": 2}
    first, second = (recurrent_task(text_data(contiguous=True)) for _ in range(2))
    fit(
        first,
        text_data(contiguous=True),
        [Checkpoints(tmp_path)],
        **common | validated | {"max_steps": stop},
    )
    fit(
        second,
        text_data(contiguous=True),
        [Checkpoints(tmp_path)],
        str(tmp_path / "last.ckpt"),
        **common | validated,
    )
    assert torch.equal(weights(second), weights(straight))


@pytest.mark.slow
def test_validation_reads_rows_in_order_with_their_state(text_data):
    data = text_data(contiguous=True, context=8, batch_size=3)
    task = recurrent_task(data, context=8, **PLAIN).double()
    trainer = fit(
        task, data, max_steps=1, limit_val_batches=1.0, val_check_interval=1, precision="64-true"
    )
    ids = [int(i) for i in data.packed("val").ids]
    length = -(-(len(ids) - 1) // 24) * 8
    rows = [ids[i : i + length + 1] for i in range(0, len(ids) - 1, length)]
    task.eval()
    nats = np.concatenate(task.token_nats(rows))
    assert len(nats) == len(ids) - 1
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(nats.mean(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_read_in_pieces_is_one_long_pass(kind, text_data):
    task = recurrent_task(text_data(), kind).double().eval()
    texts = ["red green blue " * 9, "cat", "", "two dogs? " * 5, "one " * 40]
    rows = [
        [task.tokenizer.eos_id, *task.tokenizer.encode(text), task.tokenizer.eos_id]
        for text in texts
    ]
    shares = []
    task.on_scored = shares.append
    for row, nats in zip(rows, task.token_nats(rows, batch_size=3), strict=True):
        logits = task.logits(torch.tensor([row[:-1]]))[0]
        expected = -logits.log_softmax(-1)[torch.arange(len(row) - 1), row[1:]]
        np.testing.assert_allclose(nats, expected.detach(), rtol=0, atol=1e-12)
        assert task.contexts(row).tolist() == list(range(1, len(row)))
    assert "context" not in task.answering.signature("log_prob"), (
        "how far it reads is its own affair"
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_stride_asks_for_windows(text_data):
    task = recurrent_task(text_data(), stride=8).double().eval()
    row = [task.tokenizer.eos_id, *task.tokenizer.encode("red green blue " * 9)]
    [nats] = task.token_nats([row])
    [(start, first, end)] = list(task.windows(row))[2:3]
    logits = task.logits(torch.tensor([row[start : end - 1]]))[0]
    expected = F.cross_entropy(logits, torch.tensor(row[start + 1 : end]), reduction="none")[
        first - start - 1 :
    ]
    np.testing.assert_allclose(nats[first - 1 : end - 1], expected.detach(), rtol=0, atol=1e-12)
    assert task.contexts(row).max() == 16
    assert task.answering.signature("log_prob").startswith("|context:16|stride:8|")


def test_a_continuation_goes_on_with_its_state(text_data):
    task = recurrent_task(text_data(), search=Greedy(), min_length=60).double().eval()
    prompts = [[2, *task.tokenizer.encode(p)] for p in ("red green blue one two three", "c")]
    for prompt, answer in zip(prompts, task.continue_any_length(prompts, 60), strict=True):
        logits = task.logits(torch.tensor([prompt + answer]))[0, len(prompt) - 1 : -1]
        logits[:, task.tokenizer.eos_id] = -torch.inf
        assert logits.argmax(-1).tolist() == answer


@pytest.mark.slow
def test_a_budget_in_minutes_is_measured_on_rows_in_order(text_data):
    data = text_data(contiguous=True)
    task = recurrent_task(data)
    trainer = fit(
        task,
        data,
        [Budget(0.05, lambda n, settled: None)],
        max_steps=-1,
        limit_val_batches=1.0,
        val_check_interval=5,
    )
    assert trainer.global_step >= 1


def test_token_vectors_are_scaled_where_no_norm_follows(text_data):
    data = text_data()
    assert recurrent_task(data).embedding.scale == 4.0
    assert recurrent_task(data, scale_embedding=False).embedding.scale is None
    assert language_task(data).embedding.scale is None


@pytest.mark.slow
def test_what_cannot_be_carried_is_refused(text_data):
    data = text_data(contiguous=True)
    with pytest.raises(
        ValueError,
        match=(
            r"contiguous=true carries the state of Transformer .* set it to false, or choose a "
            r"recurrent"
        ),
    ):
        language_task(data).requirements.check(data)
    recurrent_task(data).requirements.check(data)
    with pytest.raises(
        ValueError, match=r"data\.contiguous=true reads texts in order, and data\.stream shuffles"
    ):
        text_data(contiguous=True, stream=object())
    with pytest.raises(
        ValueError,
        match=(
            r"400 rows and context=16 needs at least 6401 training tokens, but there are \d+; "
            r"make"
        ),
    ):
        fit(recurrent_task(data), text_data(contiguous=True, batch_size=400))
