"""Layout of GPT-NeoX."""

from collections.abc import Iterator, Mapping

from lslm_lightning.interchange.layouts.layout import (
    ACTIVATIONS,
    MOST_CONTEXT,
    Layout,
    SpecialIds,
    activation_name,
    feed_forward_of,
    of_gpt,
    require,
    rope_base,
    rope_settings,
)
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, Weights, fused_by_head, same, zeros
from lslm_lightning.types import JsonObject, Settings

MATRICES = {"inner": "dense_h_to_4h", "output": "dense_4h_to_h"}
NORMS = {"self_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}


class GptNeoX(Layout):
    """GPT-NeoX with a sequential residual stream, unlike Pythia: LayerNorm, GELU, rotary positions,
    one matrix for queries, keys and values.
    """

    model_type = "gpt_neox"
    architecture = "GPTNeoXForCausalLM"
    kind = "causal"
    prefix = "gpt_neox."
    dropouts = ("hidden_dropout",)
    ignored = r"rotary_emb\.inv_freq$|attention\.(bias|masked_bias)$"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return of_gpt(parts, "Rotary")

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        return {
            **self.common_config(parts, ids),
            "hidden_size": parts.d_model,
            "intermediate_size": parts.d_feedforward,
            "num_hidden_layers": parts.n_layer,
            "num_attention_heads": parts.n_head,
            "max_position_embeddings": parts.context,
            "hidden_act": activation_name(parts),
            "hidden_dropout": parts.dropout,
            "layer_norm_eps": parts.norm_eps,
            "attention_bias": parts.attention_bias,
            "use_parallel_residual": False,
            **rope_settings(parts),
            "rotary_emb_base": parts.position_base,  # of transformers 4
            "rotary_pct": 1.0,
        }

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        require(config, use_parallel_residual=False)
        n_head = config["num_attention_heads"]
        d_head = config["hidden_size"] // n_head
        return ModelParts(
            kind="causal",
            vocab_size=config["vocab_size"],
            d_model=config["hidden_size"],
            d_feedforward=config["intermediate_size"],
            n_encoder_layer=0,
            n_decoder_layer=config["num_hidden_layers"],
            n_head=n_head,
            n_kv_head=n_head,
            d_k=d_head,
            d_v=d_head,
            norm_eps=config["layer_norm_eps"],
            position="Rotary",
            position_base=rope_base(config),
            attention_bias=config["attention_bias"],
            head="TiedHead" if config["tie_word_embeddings"] else "LinearHead",
            dropout=config["hidden_dropout"],
            context=min(MOST_CONTEXT, config["max_position_embeddings"]),
            **feed_forward_of(config, "hidden_act", ACTIVATIONS),
        )

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        yield same("embedding.weight", "gpt_neox.embed_in.weight")
        if not parts.is_tied:
            yield same("head.weight", "lm_head.weight")
        biases = ("weight", "bias") if parts.attention_bias else ("weight",)
        for i in range(parts.n_layer):
            ours, theirs = f"backbone.decoder.layers.{i}", f"gpt_neox.layers.{i}"
            for kind in biases:
                names = [
                    f"{ours}.self_attention.{name}.{kind}" for name in ("query", "key", "value")
                ]
                other = f"{theirs}.attention.query_key_value.{kind}"
                yield fused_by_head(names, other, parts.n_head)
                yield same(
                    f"{ours}.self_attention.output.{kind}", f"{theirs}.attention.dense.{kind}"
                )
            for own, other in MATRICES.items():
                yield same(f"{ours}.feed_forward.{own}.weight", f"{theirs}.mlp.{other}.weight")
                if parts.feed_forward_bias:
                    yield same(f"{ours}.feed_forward.{own}.bias", f"{theirs}.mlp.{other}.bias")
                else:
                    size = parts.d_feedforward if own == "inner" else parts.d_model
                    yield zeros(f"{theirs}.mlp.{other}.bias", size)
            for own, other in NORMS.items():
                for kind in ("weight", "bias"):
                    yield same(f"{ours}.{own}.{kind}", f"{theirs}.{other}.{kind}")
        for kind in ("weight", "bias"):
            yield same(f"backbone.decoder.last.{kind}", f"gpt_neox.final_layer_norm.{kind}")

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        return {"lm_head.weight": "gpt_neox.embed_in.weight"} if parts.is_tied else {}
