"""Layout of GPT-2."""

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
)
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, Weights, fused, same, transposed, zeros
from lslm_lightning.types import JsonObject, Settings

MATRICES = {"inner": "c_fc", "output": "c_proj"}
NORMS = {"self_norm": "ln_1", "feed_forward_norm": "ln_2"}


class Gpt2(Layout):
    """GPT-2: LayerNorm, GELU, learned positions, matrices that are multiplied from the right."""

    model_type = "gpt2"
    architecture = "GPT2LMHeadModel"
    kind = "causal"
    prefix = "transformer."
    dropouts = ("resid_pdrop", "embd_pdrop")
    ignored = r"\.attn\.(bias|masked_bias)$"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return of_gpt(parts, "Learned")

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        return {
            **self.common_config(parts, ids),
            "n_embd": parts.d_model,
            "n_inner": parts.d_feedforward,
            "n_layer": parts.n_layer,
            "n_head": parts.n_head,
            "n_positions": parts.max_positions,
            "activation_function": activation_name(parts),
            "resid_pdrop": parts.dropout,
            "embd_pdrop": parts.dropout,
            "attn_pdrop": 0.0,
            "layer_norm_epsilon": parts.norm_eps,
            "scale_attn_weights": True,
        }

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        require(
            config,
            scale_attn_weights=True,
            scale_attn_by_inverse_layer_idx=False,
            add_cross_attention=False,
        )
        d_model, n_head = config["n_embd"], config["n_head"]
        return ModelParts(
            kind="causal",
            vocab_size=config["vocab_size"],
            d_model=d_model,
            d_feedforward=config.get("n_inner") or 4 * d_model,
            n_encoder_layer=0,
            n_decoder_layer=config["n_layer"],
            n_head=n_head,
            n_kv_head=n_head,
            d_k=d_model // n_head,
            d_v=d_model // n_head,
            norm_eps=config["layer_norm_epsilon"],
            position="Learned",
            max_positions=config["n_positions"],
            head="TiedHead" if config["tie_word_embeddings"] else "LinearHead",
            dropout=config["resid_pdrop"],
            context=min(MOST_CONTEXT, config["n_positions"]),
            **feed_forward_of(config, "activation_function", ACTIVATIONS),
        )

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        yield same("embedding.weight", "transformer.wte.weight")
        yield same("backbone.decoder.position.weight", "transformer.wpe.weight")
        if not parts.is_tied:
            yield same("head.weight", "lm_head.weight")
        d_model = parts.d_model
        for i in range(parts.n_layer):
            ours, theirs = f"backbone.decoder.layers.{i}", f"transformer.h.{i}"
            for kind in ("weight", "bias"):
                names = [
                    f"{ours}.self_attention.{name}.{kind}" for name in ("query", "key", "value")
                ]
                other = f"{theirs}.attn.c_attn.{kind}"
                output = f"{theirs}.attn.c_proj.{kind}"
                if kind == "bias" and not parts.attention_bias:
                    yield zeros(other, 3 * d_model)
                    yield zeros(output, d_model)
                    continue
                yield fused(names, other, is_transposed=True)
                yield transposed(f"{ours}.self_attention.output.{kind}", output)
            for own, other in MATRICES.items():
                yield transposed(
                    f"{ours}.feed_forward.{own}.weight", f"{theirs}.mlp.{other}.weight"
                )
                if parts.feed_forward_bias:
                    yield same(f"{ours}.feed_forward.{own}.bias", f"{theirs}.mlp.{other}.bias")
                else:
                    size = parts.d_feedforward if own == "inner" else d_model
                    yield zeros(f"{theirs}.mlp.{other}.bias", size)
            for own, other in NORMS.items():
                for kind in ("weight", "bias"):
                    yield same(f"{ours}.{own}.{kind}", f"{theirs}.{other}.{kind}")
        for kind in ("weight", "bias"):
            yield same(f"backbone.decoder.last.{kind}", f"transformer.ln_f.{kind}")

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        return {"lm_head.weight": "transformer.wte.weight"} if parts.is_tied else {}
