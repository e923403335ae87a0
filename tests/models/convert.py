"""Conversion of models of `transformers` to ours with the same weights, to compare the two."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.models.feed_forward import GELU, ReLU, SwiGLU
from lslm_lightning.models.heads import LinearHead, TiedHead
from lslm_lightning.models.positions import Learned, Rotary, Sinusoidal
from lslm_lightning.models.transformer import Transformer

FEED_FORWARD: dict[str, Callable[[int, int], nn.Module]] = {
    "relu": ReLU,
    "gelu": GELU,
    "gelu_new": partial(GELU, approximate="tanh"),
    "silu": SwiGLU,
}


def copy_linear(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy the weights of a linear layer, norm or embedding."""
    ours.weight.data.copy_(theirs.weight)
    if isinstance(getattr(ours, "bias", None), nn.Parameter):
        ours.bias.data.copy_(theirs.bias)


def copy_projections(ours: nn.Module, *theirs: nn.Module) -> None:
    """Copy the projections of queries, keys and values from three linear layers."""
    for own, other in zip((ours.query, ours.key, ours.value), theirs, strict=True):
        copy_linear(own, other)


def split_projections(ours: nn.Module, theirs: nn.MultiheadAttention) -> None:
    """Copy the projections of queries, keys and values from torch's single matrix."""
    weights = theirs.in_proj_weight.data.chunk(3)
    biases = theirs.in_proj_bias.data.chunk(3)
    for own, weight, bias in zip((ours.query, ours.key, ours.value), weights, biases, strict=True):
        own.weight.data.copy_(weight)
        own.bias.data.copy_(bias)


@torch.no_grad()
def marian_from_transformers(
    hf_model: nn.Module,
) -> tuple[TokenEmbedding, Transformer, TiedHead]:
    """Return embedding (with its scale), backbone and head of a MarianMTModel, in its dtype and
    eval mode; `final_logits_bias` is the bias of the head.
    """
    config = hf_model.config
    model = hf_model.model
    backbone = Transformer(
        config.d_model,
        config.encoder_attention_heads,
        config.encoder_layers,
        config.decoder_layers,
        config.encoder_ffn_dim,
        dropout=config.dropout,
        position=Sinusoidal,
        norm_first=False,
        feed_forward=FEED_FORWARD[config.activation_function],
    )
    for ours, theirs in zip(
        [*backbone.encoder.layers, *backbone.decoder.layers],
        [*model.encoder.layers, *model.decoder.layers],
        strict=True,
    ):
        attention = theirs.self_attn
        copy_projections(ours.self_attention, attention.q_proj, attention.k_proj, attention.v_proj)
        copy_linear(ours.self_attention.output, attention.out_proj)
        copy_linear(ours.self_norm, theirs.self_attn_layer_norm)
        if ours.cross_attention is not None:
            attention = theirs.encoder_attn
            copy_projections(
                ours.cross_attention, attention.q_proj, attention.k_proj, attention.v_proj
            )
            copy_linear(ours.cross_attention.output, attention.out_proj)
            copy_linear(ours.cross_norm, theirs.encoder_attn_layer_norm)
        copy_linear(ours.feed_forward.inner, theirs.fc1)
        copy_linear(ours.feed_forward.output, theirs.fc2)
        copy_linear(ours.feed_forward_norm, theirs.final_layer_norm)
    embedding = TokenEmbedding(
        config.vocab_size,
        config.d_model,
        scale=config.d_model**0.5 if config.scale_embedding else None,
    )
    embedding.weight.copy_(model.shared.weight)
    head = TiedHead(config.vocab_size, config.d_model, bias=True)
    head.bias.copy_(hf_model.final_logits_bias[0])
    return tuple(module.to(hf_model.dtype).eval() for module in (embedding, backbone, head))


def copy_transposed(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy GPT-2's Conv1D to a linear layer."""
    ours.weight.data.copy_(theirs.weight.T)
    ours.bias.data.copy_(theirs.bias)


@torch.no_grad()
def gpt2_from_transformers(
    hf_model: nn.Module,
) -> tuple[TokenEmbedding, Transformer, TiedHead]:
    """Return embedding, backbone and head of a GPT2LMHeadModel."""
    config = hf_model.config
    model = hf_model.transformer
    backbone = Transformer(
        config.n_embd,
        config.n_head,
        0,
        config.n_layer,
        position=partial(Learned, max_length=config.n_positions),
        feed_forward=FEED_FORWARD[config.activation_function],
    )
    for ours, theirs in zip(backbone.decoder.layers, model.h, strict=True):
        attention = ours.self_attention
        fused = theirs.attn.c_attn
        for own, weight, bias in zip(
            (attention.query, attention.key, attention.value),
            fused.weight.chunk(3, 1),
            fused.bias.chunk(3),
            strict=True,
        ):
            own.weight.copy_(weight.T)
            own.bias.copy_(bias)
        copy_transposed(ours.self_attention.output, theirs.attn.c_proj)
        copy_transposed(ours.feed_forward.inner, theirs.mlp.c_fc)
        copy_transposed(ours.feed_forward.output, theirs.mlp.c_proj)
        copy_linear(ours.self_norm, theirs.ln_1)
        copy_linear(ours.feed_forward_norm, theirs.ln_2)
    copy_linear(backbone.decoder.position, model.wpe)
    copy_linear(backbone.decoder.last, model.ln_f)
    embedding = TokenEmbedding(config.vocab_size, config.n_embd)
    embedding.weight.copy_(model.wte.weight)
    head = TiedHead(config.vocab_size, config.n_embd)
    return tuple(module.to(hf_model.dtype).eval() for module in (embedding, backbone, head))


@torch.no_grad()
def llama_from_transformers(
    hf_model: nn.Module,
) -> tuple[TokenEmbedding, Transformer, LinearHead]:
    """Return embedding, backbone and head of a LlamaForCausalLM."""
    config = hf_model.config
    model = hf_model.model
    backbone = Transformer(
        config.hidden_size,
        config.num_attention_heads,
        0,
        config.num_hidden_layers,
        config.intermediate_size,
        d_k=config.head_dim,
        d_v=config.head_dim,
        n_kv_head=config.num_key_value_heads,
        position=partial(Rotary, base=config.rope_parameters["rope_theta"]),
        norm=partial(nn.RMSNorm, eps=config.rms_norm_eps),
        feed_forward=FEED_FORWARD[config.hidden_act],
        bias=False,
    )
    for ours, theirs in zip(backbone.decoder.layers, model.layers, strict=True):
        attention = theirs.self_attn
        copy_projections(ours.self_attention, attention.q_proj, attention.k_proj, attention.v_proj)
        copy_linear(ours.self_attention.output, attention.o_proj)
        copy_linear(ours.feed_forward.gate, theirs.mlp.gate_proj)
        copy_linear(ours.feed_forward.inner, theirs.mlp.up_proj)
        copy_linear(ours.feed_forward.output, theirs.mlp.down_proj)
        copy_linear(ours.self_norm, theirs.input_layernorm)
        copy_linear(ours.feed_forward_norm, theirs.post_attention_layernorm)
    copy_linear(backbone.decoder.last, model.norm)
    embedding = TokenEmbedding(config.vocab_size, config.hidden_size)
    embedding.weight.copy_(model.embed_tokens.weight)
    head = LinearHead(config.vocab_size, config.hidden_size)
    copy_linear(head, hf_model.lm_head)
    return tuple(module.to(hf_model.dtype).eval() for module in (embedding, backbone, head))


@torch.no_grad()
def bert_from_transformers(hf_model: nn.Module) -> tuple[TokenEmbedding, Transformer]:
    """Return embedding and backbone of a BertModel for texts of one segment, whose vector is added
    to those of the positions.
    """
    config = hf_model.config
    backbone = Transformer(
        config.hidden_size,
        config.num_attention_heads,
        config.num_hidden_layers,
        0,
        config.intermediate_size,
        position=partial(Learned, max_length=config.max_position_embeddings),
        norm=partial(nn.LayerNorm, eps=config.layer_norm_eps),
        norm_first=False,
        feed_forward=FEED_FORWARD[config.hidden_act],
        embedding_norm=True,
    )
    for ours, theirs in zip(backbone.encoder.layers, hf_model.encoder.layer, strict=True):
        attention = theirs.attention.self
        copy_projections(ours.self_attention, attention.query, attention.key, attention.value)
        copy_linear(ours.self_attention.output, theirs.attention.output.dense)
        copy_linear(ours.self_norm, theirs.attention.output.LayerNorm)
        copy_linear(ours.feed_forward.inner, theirs.intermediate.dense)
        copy_linear(ours.feed_forward.output, theirs.output.dense)
        copy_linear(ours.feed_forward_norm, theirs.output.LayerNorm)
    embeddings = hf_model.embeddings
    backbone.encoder.position.weight.copy_(
        embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
    )
    copy_linear(backbone.encoder.first, embeddings.LayerNorm)
    embedding = TokenEmbedding(config.vocab_size, config.hidden_size)
    embedding.weight.copy_(embeddings.word_embeddings.weight)
    return tuple(module.to(hf_model.dtype).eval() for module in (embedding, backbone))
