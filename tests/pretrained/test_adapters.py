"""Laws of adapters on networks of transformers and of our own."""

from itertools import accumulate
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from lslm_lightning.adapters import DoRA, LoRA, merged
from lslm_lightning.adapters.low_rank import BASE, is_of_adapter
from lslm_lightning.adapters.targets import FEED_FORWARD_OUTPUT
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import decay_groups
from lslm_lightning.pretrained.decoder import PretrainedDecoder
from lslm_lightning.pretrained.encoder import PretrainedEncoder
from lslm_lightning.pretrained.encoder_decoder import PretrainedEncoderDecoder
from lslm_lightning.runs.weights import fitting_weights
from lslm_lightning.text.hugging_face import HuggingFaceTokenizer
from lslm_lightning.text.recipes import Bytes
from lslm_lightning.training.adapted import freeze_base, save_adapter
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.footprint import footprint
from tasks.language_modeling.task import LanguageModelingTask
from tasks.question_answering.extractive.task import SpanTask
from tasks.translation.task import TranslationTask
from tests.pretrained.conftest import EOS, WORDS, pairs, save
from tests.support.bert import write_bert

B = 8
T = 64
EVERYWHERE = ["query", "value", "output", "inner"]
IDS = torch.arange(3, 19)[None]
KINDS = pytest.mark.parametrize("kind", [LoRA, DoRA])


def pretrained(folder: Path, adapter: LoRA | None) -> LanguageModelingTask:
    task = LanguageModelingTask(
        PretrainedDecoder(str(folder)),
        HuggingFaceTokenizer(str(folder)).train(),
        context=T,
        adapter=adapter,
    )
    freeze_base(task)
    if task.backbone.device.type != "meta":
        task.backbone.load_pretrained_weights()
    return task.eval()


def ours(adapter: LoRA | None) -> LanguageModelingTask:
    torch.manual_seed(0)
    network = Transformer(128, 4, 0, 3, dropout=0.0)
    task = LanguageModelingTask(network, Bytes().train(), context=T, adapter=adapter)
    freeze_base(task)
    return task.eval()


def step(task: LanguageModelingTask, n: int = 3) -> None:
    """Train for a few steps at a high learning rate."""
    optimizer = torch.optim.SGD(decay_groups(task.train()), lr=0.02, weight_decay=0.1)
    for _ in range(n):
        optimizer.zero_grad()
        task.loss(WindowBatch(IDS, IDS.numel() - 1)).backward()
        optimizer.step()
    task.eval()


def frozen(task: LanguageModelingTask) -> dict[str, torch.Tensor]:
    """Return copies of the weights of the base, under the names of the base."""
    return {
        name.replace(f".{BASE}.", "."): weight.clone()
        for name, weight in task.state_dict().items()
        if not is_of_adapter(name)
    }


@pytest.mark.slow
@KINDS
def test_an_adapter_of_a_causal_language_model(kind, causal, tmp_path):
    """It starts as the base, leaves it as it is, equals its merged copy, and peft reads it."""
    network = AutoModelForCausalLM.from_pretrained(causal).eval()
    task = pretrained(causal, kind(rank=2, targets=EVERYWHERE))
    torch.testing.assert_close(task.logits(IDS), network(IDS).logits, rtol=0, atol=1e-6)
    before = frozen(task)
    step(task)
    y = task.logits(IDS)
    assert (y - network(IDS).logits).abs().max() > 1e-2
    after = frozen(task)
    assert before.keys() == after.keys() == pretrained(causal, None).state_dict().keys()
    assert all(torch.equal(before[name], weight) for name, weight in after.items())

    plain = merged(task)
    assert plain.state_dict().keys() == before.keys()
    torch.testing.assert_close(plain.logits(IDS), y, rtol=0, atol=1e-5)
    assert torch.equal(task.logits(IDS), y), "the task itself is not merged"
    assert all(p.requires_grad for p in plain.parameters())

    save_adapter(task, tmp_path)
    theirs = PeftModel.from_pretrained(network, tmp_path).eval()
    torch.testing.assert_close(theirs(IDS).logits, y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("setting", ["targets", "also_train"])
def test_a_text_is_not_taken_for_a_list_of_letters(setting):
    with pytest.raises(ValueError, match=rf"model\.adapter\.{setting}='head' must be a list"):
        LoRA(**{setting: "head"})


@pytest.mark.parametrize("also", [["head"], ["embedding", "head"]])
def test_parts_that_are_trained_too_are_saved_with_the_adapter(also, causal, tmp_path):
    """Tied weights are one: what trains the head trains the embedding."""
    network = AutoModelForCausalLM.from_pretrained(causal).eval()
    task = pretrained(causal, LoRA(rank=2, also_train=also))
    step(task)
    head = network.get_output_embeddings().weight
    assert not torch.equal(task.backbone.model.get_output_embeddings().weight, head)
    save_adapter(task, tmp_path)
    theirs = PeftModel.from_pretrained(network, tmp_path).eval()
    torch.testing.assert_close(theirs(IDS).logits, task.logits(IDS), rtol=0, atol=1e-6)
    torch.testing.assert_close(merged(task).logits(IDS), task.logits(IDS), rtol=0, atol=1e-5)


@pytest.mark.slow
@KINDS
def test_an_adapter_of_a_sequence_to_sequence_model(kind, paired, tmp_path):
    adapter = kind(rank=2, targets=EVERYWHERE)
    task = TranslationTask(
        PretrainedEncoderDecoder(str(paired)),
        HuggingFaceTokenizer(str(paired)).train(),
        max_length=12,
        adapter=adapter,
    )
    freeze_base(task)
    task.backbone.load_pretrained_weights()
    batch = pairs([[3, 4, 5], [6]], [[7, 8], [9, 10, 11]])
    optimizer = torch.optim.SGD(decay_groups(task.train()), lr=0.02)
    task.loss(batch).backward()
    optimizer.step()
    task.loss(batch).backward()
    optimizer.step()
    task.eval()
    plain = merged(task)
    torch.testing.assert_close(plain.loss(batch), task.loss(batch), rtol=1e-5, atol=1e-4)
    save_adapter(task, tmp_path)
    base = AutoModelForSeq2SeqLM.from_pretrained(paired).eval()
    given = {"input_ids": batch.source, "attention_mask": (~batch.source_pad).long()}
    given["decoder_input_ids"] = batch.target[:, :-1]
    before = base(**given).logits
    theirs = PeftModel.from_pretrained(base, tmp_path).eval()(**given).logits
    memory = task.backbone.encode(batch.source, batch.source_pad)
    y, _ = task.backbone.decode(batch.target[:, :-1], memory=memory, memory_pad=batch.source_pad)
    torch.testing.assert_close(y, theirs, rtol=0, atol=1e-5)
    assert (before - theirs).abs().max() > 1e-4


@KINDS
def test_an_adapter_of_a_network_of_our_own(kind):
    task = ours(kind(targets=EVERYWHERE, base="a run"))
    before = frozen(task)
    step(task)
    after = frozen(task)
    assert before.keys() == ours(None).state_dict().keys()
    assert all(torch.equal(before[name], weight) for name, weight in after.items())
    torch.testing.assert_close(merged(task).logits(IDS), task.logits(IDS), rtol=0, atol=1e-5)


def test_several_adapters_of_one_base(gpt2, tmp_path):
    """peft switches between those of two trainings."""
    adapters = {"one": LoRA(rank=2), "two": DoRA(rank=4, targets=["inner"])}
    logits = {}
    for name, adapter in adapters.items():
        task = pretrained(gpt2, adapter)
        step(task)
        logits[name] = task.logits(IDS)
        save_adapter(task, tmp_path / name)
    network = AutoModelForCausalLM.from_pretrained(gpt2)
    model = PeftModel.from_pretrained(network, tmp_path / "one", adapter_name="one")
    model.load_adapter(tmp_path / "two", adapter_name="two")
    for name in ("two", "one"):
        model.set_adapter(name)
        torch.testing.assert_close(model.eval()(IDS).logits, logits[name], rtol=0, atol=1e-6)


def test_without_an_adapter_nothing_is_other(gpt2):
    """The optimizer of earlier runs numbers parameters in the order of the model."""
    task = pretrained(gpt2, None)
    assert all(p.requires_grad for p in task.parameters())
    assert sum(len(group["params"]) for group in decay_groups(task)) == len([*task.parameters()])
    assert not any(is_of_adapter(name) or BASE in name for name in task.state_dict())
    assert task.model_info.n_trainable == task.model_info.n_parameter


@pytest.fixture(scope="module")
def larger(tmp_path_factory) -> Path:
    """Folder of a GPT-2 whose activations are larger than what a profiler counts beside them."""
    folder = tmp_path_factory.mktemp("larger")
    sizes = {"n_positions": 2 * T, "n_embd": 128, "n_layer": 3, "n_head": 4}
    none = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    ends = {"bos_token_id": EOS, "eos_token_id": EOS}
    return save(
        GPT2LMHeadModel(GPT2Config(vocab_size=len(WORDS), **sizes, **none, **ends)), folder, False
    )


@pytest.mark.slow
@pytest.mark.parametrize("of", ["pretrained", "ours"])
@pytest.mark.parametrize(
    "adapter",
    [LoRA(), LoRA(targets=["all"], also_train=["embedding"]), DoRA(targets=["query", "output"])],
    ids=lambda adapter: type(adapter).__name__,
)
def test_a_plan_is_within_five_percent_of_a_step(of, adapter, larger):
    """Weights, gradients, moments and activations, against a real step of forward, backward and
    optimizer.
    """

    def make() -> LanguageModelingTask:
        if of == "pretrained":
            return pretrained(larger, adapter)
        return ours(type(adapter)(**{**vars(adapter), "base": "a run"}))

    ids = torch.randint(3, 20, (B, T + 1))
    with torch.device("meta"):
        planned = make()
        shapes = WindowBatch(torch.zeros_like(ids, device="meta"), B * T)
    found = footprint(planned, shapes, bfloat16=False)
    task = make().train()
    optimizer = task.optimizer_of(decay_groups(task))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        task.loss(WindowBatch(ids, B * T)).backward()
    events = sorted(
        (e.start_ns(), e.nbytes())
        for e in seen.profiler.kineto_results.events()
        if e.name() == "[memory]"
    )
    optimizer.step()
    tensors = [t for state in optimizer.state.values() for t in state.values()]
    state_bytes = sum(t.numel() * t.element_size() for t in tensors if torch.is_tensor(t))
    assert found.state_bytes == pytest.approx(state_bytes, rel=0.01)
    assert found.n_trained == sum(p.numel() for p in task.parameters() if p.requires_grad)
    assert found.n_trained == task.model_info.n_trainable < 0.2 * found.n_parameter
    assert found.n_parameter == task.model_info.n_parameter
    peak = max(accumulate(n for _, n in events))
    estimate = task.model_info.n_byte + found.state_bytes + sum(found.peak())
    assert estimate == pytest.approx(task.model_info.n_byte + state_bytes + peak, rel=0.05)


def test_an_adapter_of_an_encoder(tmp_path):
    """Parts of the task that have no pretrained weights are trained; the folder for peft has the
    network alone.
    """
    path = write_bert(tmp_path / "bert", "abcdefgh")
    backbone = PretrainedEncoder(path)
    sizes = {"max_length": 32, "stride": 8, "max_question_length": 8}
    task = SpanTask(
        backbone,
        HuggingFaceTokenizer(path).train(),
        overlap_features=False,
        adapter=LoRA(rank=2, targets=["query", FEED_FORWARD_OUTPUT]),
        **sizes,
    )
    freeze_base(task)
    backbone.load_pretrained_weights()
    trained = {name for name, p in task.named_parameters() if p.requires_grad}
    outside = {name for name, _ in task.named_parameters() if not name.startswith("backbone.")}
    assert outside
    assert outside < trained
    assert all(is_of_adapter(name) for name in trained - outside)
    assert task.model_info.n_trainable == sum(
        p.numel() for p in task.parameters() if p.requires_grad
    )
    for name, p in backbone.named_parameters():
        if is_of_adapter(name):
            p.data.add_(torch.randn_like(p) * 0.3)
    task.eval()
    save_adapter(task, tmp_path / "adapter")
    network = AutoModel.from_pretrained(path).eval()
    ids = torch.arange(5, 11)[None]
    y = backbone.encode(ids)
    assert (network(ids).last_hidden_state - y).abs().max() > 1e-2
    theirs = PeftModel.from_pretrained(network, tmp_path / "adapter").eval()
    torch.testing.assert_close(theirs(ids).last_hidden_state, y, rtol=0, atol=1e-6)
    torch.testing.assert_close(merged(task).backbone.encode(ids), y, rtol=0, atol=1e-5)


def test_a_checkpoint_of_another_adapter_or_of_none_does_not_fit(gpt2):
    """The weights of one are never taken for those of another."""
    task = pretrained(gpt2, LoRA(rank=2))
    for other in (None, LoRA(rank=4), DoRA(rank=2), LoRA(rank=2, targets=["inner"])):
        saved = {"state_dict": pretrained(gpt2, other).state_dict()}
        with pytest.raises(ValueError, match="does not fit the model"):
            fitting_weights(task, saved, gpt2 / "best.ckpt", task.tokenizer)
