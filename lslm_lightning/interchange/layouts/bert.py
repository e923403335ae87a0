"""Layouts of BERT and its relatives: an encoder that finds the answer to a question."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lslm_lightning.interchange.layouts.bart import KINDS, linear, pair
from lslm_lightning.interchange.layouts.layout import (
    ACTIVATIONS,
    Layout,
    SpecialIds,
    activation_name,
    feed_forward_of,
    heads,
    require,
)
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, Weights, same, setting
from lslm_lightning.types import JsonObject, Settings

N_SEGMENT = 2  # question and passage
THRESHOLD = "no_answer_threshold"  # setting of ours in config.json
SCORES = "qa_outputs"
ATTENTION = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
}
NORMS = {"self_norm": "attention.output.LayerNorm", "feed_forward_norm": "output.LayerNorm"}


class Bert(Layout):
    """BERT: post-norm with learned positions and normalized inputs."""

    model_type = "bert"
    architecture = "BertForQuestionAnswering"
    kind = "span-extraction"
    prefix = "bert."
    unused = r"bert\.pooler|cls\.predictions|cls\.seq_relationship|classifier"
    ignored = rf"embeddings\.position_ids$|^({unused})\."
    dropouts = ("hidden_dropout_prob",)

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            "position": ("Learned",),
            "norm_first": (False,),
            "embedding_norm": (True,),
            "norm": ("LayerNorm",),
            "norm_bias": (True,),
            "feed_forward": ("GELU", "ReLU"),
            **heads(parts),
            "scale_embedding": (False,),
            "overlap_features": (False,),
            "flow": (None,),
            "answerability_head": (None,),
        }

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        has_threshold = math.isfinite(parts.threshold)
        return {
            **self.common_config(parts, ids),
            "hidden_size": parts.d_model,
            "num_hidden_layers": parts.n_encoder_layer,
            "num_attention_heads": parts.n_head,
            "intermediate_size": parts.d_feedforward,
            "max_position_embeddings": parts.max_positions,
            "type_vocab_size": N_SEGMENT,
            "hidden_act": activation_name(parts),
            "layer_norm_eps": parts.norm_eps,
            "hidden_dropout_prob": parts.dropout,
            "attention_probs_dropout_prob": 0.0,
            "position_embedding_type": "absolute",
            **({THRESHOLD: parts.threshold} if has_threshold else {}),
            **self.own_config(parts),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        """Return the settings of config.json that only this layout has."""
        return {}

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        d_model, n_head = config["hidden_size"], config["num_attention_heads"]
        require(
            config,
            embedding_size=d_model,
            type_vocab_size=N_SEGMENT,
            position_embedding_type="absolute",
            is_decoder=False,
            add_cross_attention=False,
        )
        return ModelParts(
            kind=self.kind,
            vocab_size=config["vocab_size"],
            d_model=d_model,
            d_feedforward=config["intermediate_size"],
            n_encoder_layer=config["num_hidden_layers"],
            n_decoder_layer=0,
            n_head=n_head,
            n_kv_head=n_head,
            d_k=d_model // n_head,
            d_v=d_model // n_head,
            norm_eps=config["layer_norm_eps"],
            norm_first=False,
            embedding_norm=True,
            position="Learned",
            max_positions=config["max_position_embeddings"],
            dropout=config["hidden_dropout_prob"],
            threshold=threshold_of(config),
            **feed_forward_of(config, "hidden_act", ACTIVATIONS),
        )

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        theirs = f"{self.prefix}embeddings"
        yield same("embedding.weight", f"{theirs}.word_embeddings.weight")
        yield same("marks.weights.0", f"{theirs}.token_type_embeddings.weight")
        yield same("backbone.encoder.position.weight", f"{theirs}.position_embeddings.weight")
        yield from pair("backbone.encoder.first", f"{theirs}.LayerNorm")
        for i in range(parts.n_encoder_layer):
            yield from layer_rows(
                parts, f"backbone.encoder.layers.{i}", f"{self.prefix}encoder.layer.{i}"
            )
        yield from pair("ends", SCORES)
        yield setting("threshold", parts.threshold)

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        return {
            name.replace(new, before): name
            for row in self.rows(parts)
            for name in row.theirs
            for new, before in old.items()
            if name.endswith(new)
        }

    def new_weights(self, config: Settings, weights: Weights) -> dict[str, Tensor]:
        if any(name.startswith(SCORES) for name in weights):
            return {}
        drawn = torch.randn(2, config["hidden_size"], generator=torch.Generator().manual_seed(0))
        values = (drawn * config["initializer_range"], torch.zeros(2))
        return {f"{SCORES}.{kind}": value for kind, value in zip(KINDS, values, strict=True)}


class Electra(Bert):
    """ELECTRA: the network of BERT."""

    model_type = "electra"
    architecture = "ElectraForQuestionAnswering"
    prefix = "electra."
    unused = "discriminator_predictions|generator_predictions|generator_lm_head|classifier"
    ignored = rf"embeddings\.position_ids$|^({unused})\."

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"embedding_size": parts.d_model}


def threshold_of(config: Settings) -> float:
    """Return the threshold of no answer in a config.json; infinity if there is none.

    Raises:
        ValueError: it is no finite number.
    """
    value = config.get(THRESHOLD)
    if value is None:
        return math.inf
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(
            f"its config.json has {THRESHOLD}={value!r}, which must be a finite number; "
            "correct it, or remove it, and every question gets an answer"
        )
    return float(value)


def layer_rows(parts: ModelParts, ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of one layer.

    Args:
        ours: name of the layer.
        theirs: their name of the layer.
    """
    for own, other in ATTENTION.items():
        names = f"{ours}.self_attention.{own}", f"{theirs}.{other}"
        yield from linear(*names, parts.d_model, parts.attention_bias)
    sizes = {"inner": ("intermediate", parts.d_feedforward), "output": ("output", parts.d_model)}
    for own, (other, size) in sizes.items():
        names = f"{ours}.feed_forward.{own}", f"{theirs}.{other}.dense"
        yield from linear(*names, size, parts.feed_forward_bias)
    for own, other in NORMS.items():
        yield from pair(f"{ours}.{own}", f"{theirs}.{other}")
