"""Whole models of `transformers`, randomly initialized: the same weights in ours give the same
logits.
"""

import pytest
import torch

from tests.models.convert import (
    bert_from_transformers,
    gpt2_from_transformers,
    llama_from_transformers,
    marian_from_transformers,
)

transformers = pytest.importorskip(
    "transformers", reason="transformers is a test dependency: pip install -e .[dev]"
)
# float64 weights, but angles and norms of transformers are float32
CLOSE = {"rtol": 0, "atol": 1e-6}


def randomize(hf_model: torch.nn.Module) -> torch.nn.Module:
    """Make every parameter and bias random, so that none can be forgotten; float64, without
    dropout.
    """
    for parameter in hf_model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return hf_model.double().eval()


def padded_ids(vocab_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (3, 7) and their padding."""
    ids = torch.randint(4, vocab_size, (3, 7))
    pad = torch.zeros(3, 7, dtype=torch.bool)
    pad[1, 4:] = pad[2, 1:] = True
    return ids, pad


def test_gpt2_against_transformers():
    config = transformers.GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=32,
        n_layer=3,
        n_head=4,
        bos_token_id=1,
        eos_token_id=2,
    )
    hf_model = randomize(transformers.GPT2LMHeadModel(config))
    embedding, backbone, head = gpt2_from_transformers(hf_model)
    ids = torch.randint(50, (2, 9))
    y, _ = backbone.decode(embedding(ids))
    torch.testing.assert_close(head(y, embedding.weight), hf_model(ids).logits, **CLOSE)


def test_llama_against_transformers():
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
    )
    hf_model = randomize(transformers.LlamaForCausalLM(config))
    embedding, backbone, head = llama_from_transformers(hf_model)
    ids = torch.randint(50, (2, 9))
    y, _ = backbone.decode(embedding(ids))
    torch.testing.assert_close(head(y, embedding.weight), hf_model(ids).logits, **CLOSE)


def test_bert_against_transformers():
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
    )
    hf_model = randomize(transformers.BertForMaskedLM(config))
    embedding, backbone = bert_from_transformers(hf_model.bert)
    ids, pad = padded_ids(50)
    y = backbone.encode(embedding(ids), pad)
    expected = hf_model(ids, attention_mask=(~pad).long()).logits
    torch.testing.assert_close(hf_model.cls(y)[~pad], expected[~pad], **CLOSE)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("scale_embedding", [True, False])
def test_marian_against_transformers(activation, scale_embedding):
    config = transformers.MarianConfig(
        vocab_size=50,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        activation_function=activation,
        scale_embedding=scale_embedding,
        max_position_embeddings=16,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    hf_model = randomize(transformers.MarianMTModel(config))
    hf_model.final_logits_bias.normal_()
    embedding, backbone, head = marian_from_transformers(hf_model)
    source, pad = padded_ids(50)
    target = torch.randint(50, (3, 5))
    expected = hf_model(
        input_ids=source, attention_mask=(~pad).long(), decoder_input_ids=target
    ).logits
    memory = backbone.encode(embedding(source), pad)
    y, _ = backbone.decode(embedding(target), memory=memory, memory_pad=pad)
    torch.testing.assert_close(head(y, embedding.weight), expected, **CLOSE)
