"""Layers are found by role, whatever a network calls them."""

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from lslm_lightning.adapters.targets import (
    ATTENTION_OUTPUT,
    FEED_FORWARD_OUTPUT,
    linear_layers,
    roles_of,
    target_modules,
)
from lslm_lightning.models.feed_forward import SwiGLU
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from tests.pretrained.conftest import CAUSAL, IDS, LAYERS, PAIRED, ROTARY

SMALL = {**LAYERS, "vocab_size": 20, "num_hidden_layers": 1}
GATED_T5 = {**IDS, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
ATTENTION = {"query", "key", "value", ATTENTION_OUTPUT}
FEED_FORWARD = {"inner", FEED_FORWARD_OUTPUT}
PLAIN = {
    **{name: CAUSAL[name] for name in ("gpt2",)},
    **PAIRED,
    "bert": lambda: BertModel(BertConfig(**SMALL), add_pooling_layer=False),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=20, dim=16, n_heads=2, n_layers=1, hidden_dim=32)
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**SMALL, ffn_dim=32, word_embed_proj_dim=16, max_position_embeddings=32)
    ),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL)),
    "ours": lambda: Transformer(16, 2, 1, 1),
}
GATED = {
    **{name: CAUSAL[name] for name in ("llama", "mistral")},
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**{**ROTARY, "pad_token_id": 0})),
    "t5 v1.1": lambda: T5ForConditionalGeneration(
        T5Config(**GATED_T5, feed_forward_proj="gated-gelu")
    ),
    "ours gated": lambda: Transformer(16, 2, 0, 1, feed_forward=SwiGLU),
}


@pytest.mark.parametrize("family", [*PLAIN, *GATED])
def test_every_layer_of_a_network_has_a_role(family):
    with torch.device("meta"):
        network = (PLAIN | GATED)[family]()
    roles = {name: roles_of(name) for name in linear_layers(network)}
    without = [name for name, has in roles.items() if not has]
    assert without == []
    expected = ATTENTION | FEED_FORWARD | ({"gate"} if family in GATED else set())
    assert set().union(*roles.values()) == expected
    chosen = target_modules(network, ["query", "key", "value", "output", "inner", "gate"][:-1])
    chosen += target_modules(network, ["gate"]) if family in GATED else []
    assert set(chosen) == set(target_modules(network, ["all"])) == set(roles)


def test_outputs_of_attention_and_of_feed_forward_layers_are_told_apart():
    with torch.device("meta"):
        network = PLAIN["bert"]()
    assert target_modules(network, [ATTENTION_OUTPUT]) == ["encoder.layer.0.attention.output.dense"]
    assert target_modules(network, [FEED_FORWARD_OUTPUT]) == ["encoder.layer.0.output.dense"]
    assert len(target_modules(network, ["output"])) == 2
    assert target_modules(network, ["intermediate.dense"]) == target_modules(network, ["inner"])


def test_what_a_network_lacks_is_refused_with_what_it_has():
    with torch.device("meta"):
        network = PLAIN["gpt2"]()
        recurrent = LSTM(16, 0, 1)
        shared = AlbertModel(AlbertConfig(vocab_size=20, embedding_size=8, **LAYERS))
    with pytest.raises(ValueError, match=r"'gate'.* attention\.output, .*query.* c_attn, c_fc"):
        target_modules(network, ["query", "gate"])
    with pytest.raises(ValueError, match="'lm_head'"):
        target_modules(network, ["lm_head"])
    with pytest.raises(ValueError, match="'query'"):
        target_modules(recurrent, ["query"])
    assert target_modules(shared, ["query"])
