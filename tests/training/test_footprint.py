"""What a step needs, found in shapes alone, is what a step takes."""

from itertools import accumulate

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lslm_lightning.models.heads import PointerGenerator
from lslm_lightning.models.sharding import shrink_layers
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.text.recipes import Bytes
from lslm_lightning.training.batches import PairBatch, WindowBatch, total_tokens
from lslm_lightning.training.callbacks.curve import TrainingCurve
from lslm_lightning.training.footprint import footprint
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.task import TranslationTask

B = 8
T = 64
LAYERS = 3
HEADS = 4
WIDTH = 128
TOKENIZER = Bytes().train()


def language_model(**settings):
    sizes = {"n_head": HEADS, "n_encoder_layer": 0, "n_decoder_layer": LAYERS, "dropout": 0.0}
    return LanguageModelingTask(Transformer(WIDTH, **sizes | settings), TOKENIZER, context=T)


def windows():
    return WindowBatch(torch.randint(3, 200, (B, T + 1)), B * T)


def translator():
    return TranslationTask(
        Transformer(WIDTH, HEADS, 2, 2, dropout=0.0), TOKENIZER, head=PointerGenerator
    )


def pairs():
    source = torch.randint(3, 200, (B, 24))
    target = torch.randint(3, 200, (B, 21))
    return PairBatch(source, torch.zeros_like(source, dtype=torch.bool), target, B * 20, B * 24)


def on_meta(make, batch):
    with torch.device("meta"):
        task = make()
    return task, type(batch)(
        *(value.to("meta") if isinstance(value, torch.Tensor) else value for value in batch)
    )


@pytest.mark.parametrize(
    ("make", "batch"), [(language_model, windows), (translator, pairs)], ids=["windows", "pairs"]
)
def test_memory_is_what_a_profiler_sees(make, batch):
    """The most that lives at once, weights aside, of a real step on a CPU by torch's own
    profiler.
    """
    found = footprint(*on_meta(make, batch()), bfloat16=False)
    task = make()
    real = batch()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        task.loss(real).backward()
    events = sorted(
        (e.start_ns(), e.nbytes())
        for e in seen.profiler.kineto_results.events()
        if e.name() == "[memory]"
    )
    peak = max(accumulate(n for _, n in events))
    assert sum(found.peak()) == pytest.approx(peak, rel=0.1)
    assert found.n_parameter == sum(p.numel() for p in task.parameters())
    assert found.state_bytes == pytest.approx(8 * found.n_parameter, rel=1e-3), (
        "two moments of float32"
    )


def test_tokens_are_counted_as_in_the_curve_of_a_training():
    batch = pairs()
    curve = TrainingCurve()
    curve.add(None, batch.n_token, total_tokens(batch))
    found = footprint(*on_meta(translator, batch), bfloat16=False)
    assert found.n_token == int(curve.sums.n_token) == B * (20 + 24)


def test_operations_are_those_that_torch_counts():
    """With one product more in each layer than plain attention has: a fused kernel computes the
    scores twice.
    """
    found = footprint(*on_meta(language_model, windows()), bfloat16=False)
    task = language_model()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        task.loss(windows()).backward()
    again = LAYERS * 2 * B * T * T * WIDTH
    assert found.flops == counter.get_total_flops() + again
    assert found.flops / found.n_token == pytest.approx(6 * found.n_parameter, rel=0.2), (
        "the rule of thumb"
    )


@pytest.mark.slow
def test_checkpointing_trades_memory_for_operations():
    plain, less = (
        footprint(
            *on_meta(lambda c=c: language_model(activation_checkpointing=c), windows()), False
        )
        for c in (False, True)
    )
    assert sum(less.peak()) < 0.6 * sum(plain.peak())
    assert 1.2 < less.flops / plain.flops < 1.4


@pytest.mark.slow
def test_bfloat16_needs_less_memory_and_weights_that_come_in_it_still_less():
    single, mixed = (footprint(*on_meta(language_model, windows()), half) for half in (False, True))
    task, batch = on_meta(language_model, windows())
    gathered = footprint(task.to(torch.bfloat16), batch, True)
    one, two, three = (found.peak()[0] for found in (single, mixed, gathered))
    assert three < two < one
    assert three < 0.7 * one


@pytest.mark.slow
def test_dropout_keeps_a_byte_a_number():
    none, some = (
        footprint(*on_meta(lambda p=p: language_model(dropout=p), windows()), False)
        for p in (0.0, 0.1)
    )
    n_mask = (2 * LAYERS + 1) * B * T * WIDTH
    assert some.peak()[0] - none.peak()[0] == pytest.approx(n_mask, rel=0.1)


def test_gradients_that_are_kept_or_shared_count_so():
    found = footprint(*on_meta(language_model, windows()), bfloat16=False)
    assert sum(found.peak(kept=True)) == pytest.approx(
        found.peak(0.0)[0] + 4 * found.n_parameter, rel=0.02
    )
    assert sum(found.peak(0.0)) <= sum(found.peak(0.5)) <= sum(found.peak())


def test_a_part_of_each_layer_is_what_a_process_has_of_it():
    with torch.device("meta"):
        whole = language_model()
        part = language_model()
    shrink_layers(part.backbone, 2)
    split = sum(
        m.weight.numel() for m in whole.backbone.modules() if isinstance(m, torch.nn.Linear)
    )
    saved = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in part.parameters())
    assert saved == pytest.approx(split / 2, rel=0.02)
    full, half = (
        footprint(task, on_meta(language_model, windows())[1], bfloat16=False)
        for task in (whole, part)
    )
    assert half.flops < 0.6 * full.flops
    with pytest.raises(ValueError, match="tensor_parallel_size=3 must divide"):
        shrink_layers(whole.backbone, 3)
