"""Loading of pretrained weights, and its errors."""

import copy
import json
import shutil

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, MambaConfig, MambaForCausalLM

from lslm_lightning.models.heads import LinearHead
from lslm_lightning.pretrained.decoder import PretrainedDecoder
from lslm_lightning.pretrained.encoder_decoder import PretrainedEncoderDecoder
from lslm_lightning.text.hugging_face import HuggingFaceTokenizer
from lslm_lightning.text.recipes import BytePair
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.footprint import footprint
from tasks.language_modeling.task import LanguageModelingTask
from tests.pretrained.conftest import CAUSAL, PAIRED, WORDS, language_task, save, translation_task


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_stepping_equals_reading(causal):
    """Single steps give the outputs of the whole text, with and without gradients."""
    network = language_task(causal).backbone
    ids = torch.arange(3, 15).view(2, 6)
    whole, _ = network.decode(ids)
    state = None
    steps = []
    for part in ids.split([2, 1, 3], 1):
        y, state = network.decode(part, state=state)
        steps.append(y)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-12)


def test_stepping_equals_reading_beside_a_memory(paired):
    """Two rows a source; one source is padded."""
    network = translation_task(paired).backbone
    ids = torch.arange(3, 27).view(4, 6)
    source = torch.tensor([[3, 4, 5, 1], [9, 1, 0, 0]])
    memory = network.encode(source, source == 0)
    pad = source == 0
    whole, _ = network.decode(ids, memory=memory, memory_pad=pad)
    state = None
    steps = []
    for part in ids.split([2, 1, 3], 1):
        y, state = network.decode(part, memory=memory, memory_pad=pad, state=state)
        steps.append(y)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-12)
    alone = network.encode(source[1:, :2])
    short, _ = network.decode(ids[2:], memory=alone)
    torch.testing.assert_close(short, whole[2:], rtol=0, atol=1e-12)


def test_a_plan_is_made_of_shapes(gpt2):
    with torch.device("meta"):
        task = LanguageModelingTask(
            PretrainedDecoder(str(gpt2)), HuggingFaceTokenizer(str(gpt2)).train(), context=16
        )
        batch = WindowBatch(torch.zeros(4, 17, dtype=torch.int64), 64)
    found = footprint(task, batch, bfloat16=False)
    assert found.n_parameter == sum(p.numel() for p in language_task(gpt2).parameters())
    assert len(found.parameters) == 3, "two layers, and the rest"
    assert found.flops > 6 * 64 * sum(found.parameters[:2])


def test_of_a_network_that_was_settled_nothing_is_read_again(gpt2, tmp_path):
    """The recorded configuration and a state dict suffice; loaded weights are not replaced."""
    here = tmp_path / "here"
    shutil.copytree(gpt2, here)
    first = PretrainedDecoder(str(here))
    first.load_pretrained_weights()
    with torch.no_grad():
        first.model.transformer.wte.weight.add_(1)
    shutil.rmtree(here)
    second = PretrainedDecoder(str(here), **copy.deepcopy(first.resolved_config))
    assert second.resolved_config == first.resolved_config
    second.load_state_dict(first.state_dict())
    second.load_pretrained_weights()
    assert torch.equal(weights(second), weights(first))
    with pytest.raises(ValueError, match="no usable weights"):
        PretrainedDecoder(str(here), **first.resolved_config).load_pretrained_weights()


def test_weights_are_read_when_training_begins(gpt2):
    network = PretrainedDecoder(str(gpt2))
    before = weights(network)
    network.load_pretrained_weights()
    assert not torch.equal(weights(network), before)
    assert torch.equal(weights(network), weights(language_task(gpt2).backbone.float()))


def test_dropout_is_the_models_own(gpt2):
    task = language_task(gpt2).train()
    assert task.backbone.model.training
    ids = torch.arange(3, 13)[None]
    torch.manual_seed(0)
    assert not torch.equal(task.logits(ids), task.logits(ids))


def test_the_other_kind_of_model(gpt2, marian):
    with pytest.raises(
        ValueError,
        match=r"gpt2.* is not what PretrainedEncoderDecoder takes .*: a gpt2 lacks an encoder",
    ):
        PretrainedEncoderDecoder(str(gpt2))
    with pytest.raises(
        ValueError,
        match=r"marian.* is not what PretrainedDecoder takes .*: a marian has an encoder",
    ):
        PretrainedDecoder(str(marian))


def test_an_encoder_alone_is_no_language_model(tmp_path):
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    save(BertForMaskedLM(BertConfig(vocab_size=len(WORDS), **sizes)), tmp_path, False)
    with pytest.raises(ValueError, match="attends to the tokens that it is to predict"):
        PretrainedDecoder(str(tmp_path))


def test_weights_that_could_hold_code_are_not_read(marian, tmp_path):
    shutil.copytree(marian, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"no weights in safetensors, but pytorch_model\.bin, which may hold code"
    ):
        PretrainedEncoderDecoder(str(tmp_path))


def test_weights_of_another_network(gpt2, marian, tmp_path):
    shutil.copytree(gpt2, tmp_path, dirs_exist_ok=True)
    shutil.copy(marian / "model.safetensors", tmp_path)
    network = PretrainedDecoder(str(tmp_path))
    with pytest.raises(ValueError, match=r"no weights for \S+ and \d+ others"):
        network.load_pretrained_weights()


def test_another_tokenizer_or_head(gpt2):
    network = PretrainedDecoder(str(gpt2))
    with pytest.raises(
        ValueError,
        match=(
            r"PretrainedDecoder reads the ids of its own tokenizer, not those of "
            r"Tokenizer\(bytes"
        ),
    ):
        LanguageModelingTask(network, BytePair().train(["a text"]))
    with pytest.raises(ValueError, match=r"model\.head must be left out"):
        LanguageModelingTask(network, HuggingFaceTokenizer(str(gpt2)).train(), head=LinearHead)


def test_a_model_that_is_nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr("lslm_lightning.text.hugging_face.hub_answers", lambda: False)
    for path in ("nobody/nothing", str(tmp_path / "missing")):
        with pytest.raises(
            ValueError,
            match=(
                "no folder here, was not fetched before, and the Hugging Face hub cannot be reached"
            ),
        ):
            PretrainedDecoder(path)


def test_weights_that_do_not_fit_are_named(gpt2, tmp_path):
    """Weights of other sizes, of more layers, and damaged ones."""
    for name, change, words in [
        ("n_positions", 16, r"wpe\.weight is \(32, 16\) and \(16, 16\)"),
        ("n_layer", 1, r"no layer has the weight transformer\.h\.1\."),
    ]:
        folder = shutil.copytree(gpt2, tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {name: change}))
        with pytest.raises(ValueError, match=f"its weights and its config.json differ: .*{words}"):
            PretrainedDecoder(str(folder)).load_pretrained_weights()
    torn = shutil.copytree(gpt2, tmp_path / "torn")
    content = (torn / "model.safetensors").read_bytes()
    (torn / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="torn: its weights are damaged or incomplete"):
        PretrainedDecoder(str(torn)).load_pretrained_weights()


def test_what_keeps_no_keys_and_values_is_refused(tmp_path):
    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, state_size=4)
    )
    with pytest.raises(ValueError, match="this model keeps no cache as its state"):
        PretrainedDecoder(str(save(mamba, tmp_path / "mamba", ends=False)))


@pytest.mark.parametrize("name", [*CAUSAL, *PAIRED])
def test_a_folder_without_its_tokenizer_is_refused(name, tmp_path):
    """`transformers` makes a tokenizer for some such folders that knows no word."""
    folder = save({**CAUSAL, **PAIRED}[name](), tmp_path / name, name in PAIRED)
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ValueError, match=f"{name} has no tokenizer that can be used"):
        HuggingFaceTokenizer(str(folder)).train()


def test_more_words_than_the_model_has_rows_are_refused(gpt2, tmp_path):
    folder = shutil.copytree(gpt2, tmp_path / "more")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["vocab"]["more"] = len(content["model"]["vocab"])
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(
        ValueError,
        match=(
            r"its tokenizer has ids up to 29 and its model 29 rows for them; "
            r".*resize_token_embeddings"
        ),
    ):
        HuggingFaceTokenizer(str(folder)).train()


def test_a_folder_without_config_is_refused(gpt2, tmp_path):
    folder = shutil.copytree(gpt2, tmp_path / "bare")
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"it has no config\.json"):
        HuggingFaceTokenizer(str(folder)).train()
