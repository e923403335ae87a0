"""Layouts of BART and its relatives: encoder and decoder with one vocabulary."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from lslm_lightning.interchange.layouts.layout import (
    ACTIVATIONS,
    Layout,
    SpecialIds,
    activation_name,
    feed_forward_of,
    heads,
    is_nonzero,
    require,
)
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import (
    Row,
    Weights,
    after_offset,
    as_row,
    constant,
    copies,
    same,
    zeros,
)
from lslm_lightning.models.positions import Sinusoidal
from lslm_lightning.types import JsonObject, Settings

N_POSITION = 1024  # of a table of sinusoids, unless texts are longer
BASE = 10_000.0  # of the wavelengths of sinusoids
TABLE_TOLERANCE = 1e-3  # between angles in float32 and in float64
PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
BRANCHES = {
    "self_attention": ("self_attn", "self_norm", "self_attn_layer_norm"),
    "cross_attention": ("encoder_attn", "cross_norm", "encoder_attn_layer_norm"),
}
KINDS = ("weight", "bias")


class BartLike(Layout):
    """Base class of encoder-decoder layouts with the weight names of BART.

    Attributes:
        norm_first: pre-norm, with a norm at the end of each stack.
        embedding_norm: whether the inputs of each stack are normalized.
        position: class of the positional encoding.
        offset: number of vectors before that of the first position.
    """

    kind = "sequence-to-sequence"
    dropouts = ("dropout",)
    norm_first: ClassVar[bool]
    embedding_norm: ClassVar[bool]
    position: ClassVar[str]
    offset = 0

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            "position": (self.position,),
            **({"position_base": (BASE,)} if self.position == "Sinusoidal" else {}),
            "norm_first": (self.norm_first,),
            "embedding_norm": (self.embedding_norm,),
            "norm": ("LayerNorm",),
            "norm_bias": (True,),
            "norm_eps": (1e-5,),
            "feed_forward": ("GELU", "ReLU"),
            **heads(parts),
            "head": ("TiedHead", "LinearHead"),
        }

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        return {
            **self.common_config(parts, ids),
            "d_model": parts.d_model,
            "encoder_layers": parts.n_encoder_layer,
            "decoder_layers": parts.n_decoder_layer,
            "encoder_attention_heads": parts.n_head,
            "decoder_attention_heads": parts.n_head,
            "encoder_ffn_dim": parts.d_feedforward,
            "decoder_ffn_dim": parts.d_feedforward,
            "max_position_embeddings": self.n_position(parts),
            "activation_function": activation_name(parts),
            "dropout": parts.dropout,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "scale_embedding": parts.scale_embedding,
            "is_encoder_decoder": True,
            "decoder_start_token_id": ids.bos,
            "forced_bos_token_id": None,
            "forced_eos_token_id": None,
            **self.own_config(parts),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        """Return the settings of config.json that only this layout has."""
        return {}

    def n_position(self, parts: ModelParts) -> int:
        """Return the number of positions that config.json states."""
        return parts.max_positions or parts.context or N_POSITION

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        for name in ("attention_heads", "ffn_dim"):
            require(config, **{f"decoder_{name}": config[f"encoder_{name}"]})
        d_model, n_head = config["d_model"], config["encoder_attention_heads"]
        is_learned = self.position == "Learned"
        n_position = config["max_position_embeddings"]
        return ModelParts(
            kind="sequence-to-sequence",
            vocab_size=config["vocab_size"],
            d_model=d_model,
            d_feedforward=config["encoder_ffn_dim"],
            n_encoder_layer=config["encoder_layers"],
            n_decoder_layer=config["decoder_layers"],
            n_head=n_head,
            n_kv_head=n_head,
            d_k=d_model // n_head,
            d_v=d_model // n_head,
            norm_first=self.norm_first,
            embedding_norm=self.embedding_norm,
            position=self.position,
            position_base=None if is_learned else BASE,
            max_positions=n_position if is_learned else None,
            context=None if is_learned else n_position,
            head="TiedHead" if config["tie_word_embeddings"] else "LinearHead",
            head_bias=is_nonzero(weights, "final_logits_bias"),
            scale_embedding=bool(config.get("scale_embedding")),
            dropout=config["dropout"],
            **feed_forward_of(config, "activation_function", ACTIVATIONS),
        )

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        if parts.is_tied:
            yield same("embedding.weight", "model.shared.weight")
        else:
            yield copies("embedding.weight", "model.shared.weight", *EMBEDDINGS)
            yield same("head.weight", "lm_head.weight")
        if parts.head_bias:
            yield as_row("head.bias", "final_logits_bias")
        else:
            yield zeros("final_logits_bias", 1, parts.vocab_size, is_optional=True)
        for stack, n_layer in parts.stacks.items():
            yield self.positions(parts, stack)
            for i in range(n_layer):
                ours, theirs = f"backbone.{stack}.layers.{i}", f"model.{stack}.layers.{i}"
                yield from layer_rows(parts, ours, theirs, has_cross=stack == "decoder")
            ends = {"first": "layernorm_embedding"} if self.embedding_norm else {}
            ends |= {"last": "layer_norm"} if self.norm_first else {}
            for own, other in ends.items():
                yield from pair(f"backbone.{stack}.{own}", f"model.{stack}.{other}")

    def positions(self, parts: ModelParts, stack: str) -> Row:
        """Return the row of the positional encoding of a stack."""
        theirs = f"model.{stack}.embed_positions.weight"
        if self.position == "Learned":
            return after_offset(f"backbone.{stack}.position.weight", theirs, self.offset)
        shape = self.n_position(parts), parts.d_model
        return constant(theirs, shape, partial(sinusoids, *shape), TABLE_TOLERANCE)

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        if not parts.is_tied:
            return {}
        return dict.fromkeys((*EMBEDDINGS, "lm_head.weight"), "model.shared.weight")


EMBEDDINGS = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")


def pair(ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of weight and bias of one module."""
    for kind in KINDS:
        yield same(f"{ours}.{kind}", f"{theirs}.{kind}")


def linear(ours: str, theirs: str, size: int, has_bias: bool) -> Iterator[Row]:
    """Yield the rows of a linear layer, whose bias they have in any case.

    Args:
        size: number of its outputs.
        has_bias: whether ours has a bias.
    """
    yield same(f"{ours}.weight", f"{theirs}.weight")
    if has_bias:
        yield same(f"{ours}.bias", f"{theirs}.bias")
    else:
        yield zeros(f"{theirs}.bias", size)


def layer_rows(parts: ModelParts, ours: str, theirs: str, has_cross: bool) -> Iterator[Row]:
    """Yield the rows of one layer.

    Args:
        ours: name of the layer.
        theirs: their name of the layer.
        has_cross: whether the layer attends to the encoder.
    """
    for branch, (attention, norm, other_norm) in BRANCHES.items():
        if branch == "cross_attention" and not has_cross:
            continue
        for own, other in PROJECTIONS.items():
            names = f"{ours}.{branch}.{own}", f"{theirs}.{attention}.{other}"
            yield from linear(*names, parts.d_model, parts.attention_bias)
        yield from pair(f"{ours}.{norm}", f"{theirs}.{other_norm}")
    sizes = {"inner": ("fc1", parts.d_feedforward), "output": ("fc2", parts.d_model)}
    for own, (other, size) in sizes.items():
        names = f"{ours}.feed_forward.{own}", f"{theirs}.{other}"
        yield from linear(*names, size, parts.feed_forward_bias)
    yield from pair(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm")


def sinusoids(n_position: int, d_model: int) -> Tensor:
    """Return the vectors (T, D) that `Sinusoidal` adds to the inputs at positions 0 to T - 1."""
    positions = torch.arange(n_position)
    return Sinusoidal(d_model, 1, d_model, BASE).embed(torch.zeros(n_position, d_model), positions)


class Pegasus(BartLike):
    """Pegasus: pre-norm with sinusoidal positions."""

    model_type = "pegasus"
    architecture = "PegasusForConditionalGeneration"
    norm_first = True
    embedding_norm = False
    position = "Sinusoidal"


class Marian(BartLike):
    """Marian: post-norm with sinusoidal positions."""

    model_type = "marian"
    architecture = "MarianMTModel"
    norm_first = False
    embedding_norm = False
    position = "Sinusoidal"

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"decoder_vocab_size": parts.vocab_size, "share_encoder_decoder_embeddings": True}

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        require(
            config,
            share_encoder_decoder_embeddings=True,
            decoder_vocab_size=(config["vocab_size"], None),
        )
        return super().parts(config, weights)


class Bart(BartLike):
    """BART: post-norm with learned positions and normalized inputs."""

    model_type = "bart"
    architecture = "BartForConditionalGeneration"
    norm_first = False
    embedding_norm = True
    position = "Learned"
    offset = 2


class MBart(BartLike):
    """mBART: pre-norm with learned positions and normalized inputs."""

    model_type = "mbart"
    architecture = "MBartForConditionalGeneration"
    norm_first = True
    embedding_norm = True
    position = "Learned"
    offset = 2


class Blenderbot(BartLike):
    """Blenderbot: pre-norm with learned positions."""

    model_type = "blenderbot"
    architecture = "BlenderbotForConditionalGeneration"
    norm_first = True
    embedding_norm = False
    position = "Learned"

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"encoder_no_repeat_ngram_size": 0}
