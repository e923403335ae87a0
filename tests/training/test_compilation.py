"""Compiled training steps: what they compute, when they are chosen, and what is said otherwise."""

import copy
from functools import partial

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback
from torch import nn
from torch._dynamo.utils import counters

from lslm_lightning.experiments.preflight import check_compile
from lslm_lightning.models.feed_forward import SwiGLU
from lslm_lightning.models.positions import Learned
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.callbacks.compilation import Compilation
from lslm_lightning.training.compilation import (
    LEAST_SECONDS,
    MOST_SAVED,
    PAYBACK,
    CompiledLoss,
    CompiledTimes,
    may_pay,
)
from tasks.language_modeling.task import LanguageModelingTask
from tests.models.families import POSITIONS, label
from tests.training.conftest import assert_resumes_exactly, fit, language_task

SMOOTHING = 0.1


def graphs() -> int:
    """Return the number of graphs compiled so far in this process."""
    return counters["stats"]["unique_graphs"]


def gradients(task, loss):
    task.zero_grad(set_to_none=True)
    loss.backward()
    found = torch.cat([p.grad.flatten() for p in task.parameters()])
    task.zero_grad(set_to_none=True)
    return found


def in_double(data):
    """Return a task in float64, with positions that are not computed in float32."""
    torch.manual_seed(0)
    backbone = Transformer(16, 2, 0, 1, dropout=0.0, position=Learned)
    return LanguageModelingTask(backbone, data.tokenizer, context=16).double().train()


def windows(task, n_row=4, length=16):
    ids = torch.randint(4, task.tokenizer.vocab_size, (n_row, length + 1))
    ids[-1, -3:] = task.tokenizer.pad_id
    return WindowBatch(ids, n_row * length - 3)


# What is computed


@pytest.mark.slow
def test_loss_and_gradients_are_those_of_the_step_that_is_not_compiled(text_data):
    task = in_double(text_data())
    compiled = CompiledLoss()
    compiled.compiling(task, windows(task), SMOOTHING).backward()
    n_graph = graphs()
    other = copy.deepcopy(task)
    for parameter in other.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    for each in (task, other):
        batch = windows(each)
        ours = compiled(each, batch, SMOOTHING)
        theirs = each.loss(batch, SMOOTHING)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
        torch.testing.assert_close(
            gradients(each, ours), gradients(each, theirs), rtol=0, atol=1e-11
        )
    short = windows(task, n_row=3)
    assert torch.equal(compiled(task, short, SMOOTHING), task.loss(short, SMOOTHING))
    assert graphs() == n_graph, "a short batch compiles nothing"
    assert not any("_orig_mod" in name for name in task.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        *({"position": position} for position in POSITIONS),
        {"norm": nn.RMSNorm, "feed_forward": SwiGLU, "n_kv_head": 1},
        {"norm_first": False, "embedding_norm": True},
        {"dropout": 0.1},
    ],
    ids=label,
)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_a_transformers_step_is_one_graph(settings, precision, text_data):
    data = text_data()
    backbone = Transformer(16, 2, 0, 2, **settings)
    task = LanguageModelingTask(backbone, data.tokenizer, context=16).train()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32, cache_enabled=False):
        explained = torch._dynamo.explain(task.loss)(windows(task))
    assert explained.graph_count == 1
    assert explained.graph_break_count == 0, explained.break_reasons


@pytest.mark.slow
def test_training_resumes_exactly(text_data, tmp_path):
    def parts():
        data = text_data()
        return language_task(data, compile=True), data

    assert_resumes_exactly(parts, tmp_path, 8)


# When it is chosen


@pytest.mark.parametrize(
    ("eager", "compiled", "compiling", "n_batch", "pays"),
    [
        (0.080, 0.060, 20.0, 2000, True),  # saves 40 s, which is 2 x 20
        (0.080, 0.061, 20.0, 2000, False),
        (0.080, 0.060, 20.0, 1999, False),
        (0.080, 0.090, 20.0, 10**9, False),
        (0.001, 0.0005, 20.0, 10**6, True),
    ],
)
def test_it_pays_where_it_saves_twice_what_it_costs(eager, compiled, compiling, n_batch, pays):
    assert CompiledTimes(eager, compiled, compiling).pays(n_batch) is pays


def test_a_run_that_may_not_pay_pays_by_no_likely_times():
    n_batch = 100
    longest = PAYBACK * LEAST_SECONDS / (MOST_SAVED * n_batch)  # seconds of a step
    assert may_pay(1.01 * longest, n_batch)
    assert not may_pay(0.99 * longest, n_batch)
    for saved in (0.1, 0.3, MOST_SAVED):
        times = CompiledTimes(0.99 * longest, 0.99 * longest * (1 - saved), LEAST_SECONDS)
        assert not times.pays(n_batch)


class StopAfterOneStep(Callback):
    """Ends a training that would be long."""

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        trainer.should_stop = True


@pytest.mark.slow
@pytest.mark.parametrize("n_step", [2, 10**7])
def test_auto_records_what_it_chose(n_step, text_data, capsys):
    task = language_task(text_data(), compile="auto")
    records = []
    compilation = Compilation(record=lambda: records.append(task.requirements.decided["compile"]))
    fit(task, text_data(), [compilation, StopAfterOneStep()], max_steps=n_step)
    is_compiled = task.compiled_loss is not None
    assert records == [is_compiled]
    assert compilation.seconds > 0
    said = capsys.readouterr().out
    assert ("not compiled" in said) is not is_compiled
    if n_step == 2:
        assert not is_compiled


# What is said otherwise


def test_a_recurrent_network_is_refused(text_data):
    tokenizer = text_data().tokenizer
    with pytest.raises(ValueError, match=r"model\.compile=true.*LSTM.*false or auto"):
        LanguageModelingTask(LSTM(16, 0, 1), tokenizer, compile=True)
    assert LanguageModelingTask(LSTM(16, 0, 1), tokenizer, compile="auto").compile_mode == "auto"


def test_a_sharded_model_is_refused():
    sharded = Namespace(strategy="fsdp")
    with pytest.raises(ValueError, match=r"model\.compile=true.*fsdp.*model\.compile to false"):
        check_compile(True, sharded)
    check_compile("auto", sharded)
    check_compile(False, sharded)
    check_compile(True, Namespace(strategy="ddp"))


@pytest.mark.slow
def test_without_a_compiler_true_is_an_error_and_auto_trains_without(
    text_data, tmp_path, monkeypatch, capsys
):
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    run = partial(fit, data=text_data(), callbacks=[StopAfterOneStep()], max_steps=10**7)
    with pytest.raises(ValueError, match=r"model\.compile=true.*no-such-compiler.*auto"):
        run(language_task(text_data(), compile=True))
    task = language_task(text_data(), compile="auto")
    assert run(task).global_step == 1
    assert task.compiled_loss is None
    assert task.requirements.decided["compile"] is False
    assert "not compiled" in capsys.readouterr().out
