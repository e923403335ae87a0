"""Pretrained encoders as backbones: the outputs of `transformers`, and extractive summaries."""

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from lslm_lightning.contracts import Example
from lslm_lightning.pretrained.encoder import PretrainedEncoder
from lslm_lightning.text.hugging_face import HuggingFaceTokenizer
from tasks.summarization.extractive.task import ExtractiveTask
from tests.pretrained.conftest import CAUSAL, WORDS, save

SIZES = {"vocab_size": len(WORDS), "max_position_embeddings": 32}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SIZES, **BERT)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(**SIZES, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    ),
}


@pytest.fixture(params=ENCODERS)
def folder(request, tmp_path):
    torch.manual_seed(3)
    return save(ENCODERS[request.param](), tmp_path / "encoder", ends=False)


def test_vectors_are_those_of_transformers(folder):
    network = PretrainedEncoder(str(folder))
    network.load_pretrained_weights()
    network.double().eval()
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
    pad = torch.tensor([[False] * 4, [False, False, True, True]])
    reference = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    expected = reference(ids, attention_mask=(~pad).long()).last_hidden_state
    torch.testing.assert_close(network.encode(ids, pad)[~pad], expected[~pad], rtol=0, atol=1e-12)
    assert not [name for name, _ in network.named_parameters() if "pooler" in name], (
        "it would have no gradient"
    )


def test_which_of_two_texts_a_token_is_of_is_told_to_networks_that_ask(folder):
    network = PretrainedEncoder(str(folder))
    network.load_pretrained_weights()
    network.double().eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    kinds = torch.tensor([[0, 0, 1, 1]])
    reference = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    given = (
        {"token_type_ids": kinds}
        if type(reference).__name__.removesuffix("Model") == "Bert"
        else {}
    )
    found = network.encode(network.feature_embeddings((2,))(ids, kinds))
    torch.testing.assert_close(found, reference(ids, **given).last_hidden_state, rtol=0, atol=1e-12)
    assert torch.equal(found, network.encode(ids)) == (not given)
    with pytest.raises(ValueError, match="no embeddings of 2 further features"):
        network.feature_embeddings((2, 4, 8))


def test_it_chooses_sentences(folder):
    tokenizer = HuggingFaceTokenizer(str(folder)).train()
    task = ExtractiveTask(PretrainedEncoder(str(folder)), tokenizer, k=1, max_source_length=32)
    task.backbone.load_pretrained_weights()
    [answer] = task.eval().generate([Example("1", "A b c. D e f. G h.", ("D e f.",))])
    assert answer.output in ("A b c.", "D e f.", "G h.")
    assert {name.split(".")[0] for name in task.state_dict()} == {
        "backbone",
        "sentence_backbone",
        "score",
    }, "its words are its own"


def test_what_reads_in_one_direction_is_no_encoder(tmp_path):
    folder = save(CAUSAL["gpt2"](), tmp_path / "gpt2", ends=False)
    with pytest.raises(ValueError, match="does not attend to those after it"):
        PretrainedEncoder(str(folder))
