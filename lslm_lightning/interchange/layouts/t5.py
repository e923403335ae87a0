"""Layout of T5."""

import math
from collections.abc import Iterator, Mapping

from lslm_lightning.interchange.layouts.layout import Layout, SpecialIds, require
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, Weights, or_copy, same, scaled
from lslm_lightning.types import JsonObject, Settings

ACTIVATIONS: Mapping[str, tuple[str, str]] = {
    "relu": ("ReLU", ""),
    "gelu": ("GELU", "none"),
    "gelu_new": ("GELU", "tanh"),
    "gated-silu": ("SwiGLU", ""),
    "gated-gelu": ("GEGLU", "tanh"),
    "gated-gelu_new": ("GEGLU", "tanh"),
    "gated-gelu_python": ("GEGLU", "none"),
}
"""Class of a feed-forward layer, and how it computes GELU, by their name of it."""
GATED = ("SwiGLU", "GEGLU")
PROJECTIONS = {"query": "q", "key": "k", "value": "v", "output": "o"}
EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
QUERIES = "queries are divided by sqrt(d_k), which the attention of T5 does not do"
LAST_NORM = "the last norm is multiplied by sqrt(d_model), by which a tied head of T5 divides"


class T5(Layout):
    """T5: pre-norm with RMSNorm, learned biases for buckets of distances, no other biases.

    The attention of T5 does not divide scores by sqrt(d_k), and its head divides by sqrt(d_model)
    if it is tied: both are in the weights of queries and of the last norm here, exactly if d_k and
    d_model are powers of 4, else rounded.
    """

    model_type = "t5"
    architecture = "T5ForConditionalGeneration"
    kind = "sequence-to-sequence"
    prefix = ""
    dropouts = ("dropout_rate",)
    ignored = r"EncDecAttention\.relative_attention_bias\.weight$"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            "position": ("RelativeBuckets",),
            "norm": ("RMSNorm",),
            "norm_bias": (False,),
            "norm_first": (True,),
            "embedding_norm": (False,),
            "feed_forward": ("ReLU", "GELU", *GATED),
            "feed_forward_bias": (False,),
            "attention_bias": (False,),
            "n_kv_head": (parts.n_head,),
            "d_v": (parts.d_k,),
            "head": ("TiedHead", "LinearHead"),
            "head_bias": (False,),
            "scale_embedding": (False,),
        }

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        wanted = (parts.feed_forward, parts.approximate)
        return {
            **self.common_config(parts, ids),
            "d_model": parts.d_model,
            "d_kv": parts.d_k,
            "d_ff": parts.d_feedforward,
            "num_layers": parts.n_encoder_layer,
            "num_decoder_layers": parts.n_decoder_layer,
            "num_heads": parts.n_head,
            "relative_attention_num_buckets": parts.n_bucket,
            "relative_attention_max_distance": parts.max_distance,
            "dropout_rate": parts.dropout,
            "layer_norm_epsilon": parts.norm_eps,
            "feed_forward_proj": next(name for name, it in ACTIVATIONS.items() if it == wanted),
            "is_encoder_decoder": True,
            "decoder_start_token_id": ids.bos,
            "scale_decoder_outputs": parts.is_tied,
        }

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        require(config, feed_forward_proj=tuple(ACTIVATIONS))
        kind, approximate = ACTIVATIONS[config["feed_forward_proj"]]
        n_head = config["num_heads"]
        # newer files state it beside `tie_word_embeddings`, which meant it before
        is_scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
        return ModelParts(
            kind="sequence-to-sequence",
            vocab_size=config["vocab_size"],
            d_model=config["d_model"],
            d_feedforward=config["d_ff"],
            n_encoder_layer=config["num_layers"],
            n_decoder_layer=config.get("num_decoder_layers") or config["num_layers"],
            n_head=n_head,
            n_kv_head=n_head,
            d_k=config["d_kv"],
            d_v=config["d_kv"],
            norm="RMSNorm",
            norm_eps=config["layer_norm_epsilon"],
            norm_bias=False,
            position="RelativeBuckets",
            n_bucket=config["relative_attention_num_buckets"],
            max_distance=config["relative_attention_max_distance"],
            feed_forward=kind,
            feed_forward_bias=False,
            approximate=approximate,
            attention_bias=False,
            head="TiedHead" if is_scaled else "LinearHead",
            dropout=config["dropout_rate"],
        )

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        if parts.is_tied:
            yield same("embedding.weight", "shared.weight")
        else:
            yield or_copy(("embedding.weight", "head.weight"), ("shared.weight", "lm_head.weight"))
        for stack, n_layer in parts.stacks.items():
            bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            yield same(f"backbone.{stack}.position.weight", bias)
            for i in range(n_layer):
                ours, theirs = f"backbone.{stack}.layers.{i}", f"{stack}.block.{i}"
                yield from layer_rows(parts, ours, theirs, has_cross=stack == "decoder")
            last = f"backbone.{stack}.last.weight", f"{stack}.final_layer_norm.weight"
            if stack == "decoder" and parts.is_tied:
                yield scaled(*last, parts.d_model**-0.5, LAST_NORM)
            else:
                yield same(*last)

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        names = (*EMBEDDINGS, "lm_head.weight") if parts.is_tied else EMBEDDINGS
        return dict.fromkeys(names, "shared.weight")


def layer_rows(parts: ModelParts, ours: str, theirs: str, has_cross: bool) -> Iterator[Row]:
    """Yield the rows of one layer.

    Args:
        ours: name of the layer.
        theirs: their name of the layer.
        has_cross: whether the layer attends to the encoder.
    """
    branches = [("self_attention", "self_norm", "SelfAttention")]
    branches += [("cross_attention", "cross_norm", "EncDecAttention")] if has_cross else []
    for n, (branch, norm, attention) in enumerate(branches):
        for own, other in PROJECTIONS.items():
            names = (
                f"{ours}.{branch}.{own}.weight",
                f"{theirs}.layer.{n}.{attention}.{other}.weight",
            )
            if own == "query":
                yield scaled(*names, math.sqrt(parts.d_k), QUERIES)
            else:
                yield same(*names)
        yield same(f"{ours}.{norm}.weight", f"{theirs}.layer.{n}.layer_norm.weight")
    inner = {"gate": "wi_0", "inner": "wi_1"} if parts.feed_forward in GATED else {"inner": "wi"}
    last = f"{theirs}.layer.{len(branches)}"
    for own, other in {**inner, "output": "wo"}.items():
        yield same(f"{ours}.feed_forward.{own}.weight", f"{last}.DenseReluDense.{other}.weight")
    yield same(f"{ours}.feed_forward_norm.weight", f"{last}.layer_norm.weight")
