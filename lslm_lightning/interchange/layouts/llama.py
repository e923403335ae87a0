"""Layouts of Llama and its relatives: rotary positions, pre-norm, grouped keys."""

from collections.abc import Iterator, Mapping

from lslm_lightning.interchange.layouts.layout import (
    GATES,
    MOST_CONTEXT,
    Layout,
    SpecialIds,
    activation_name,
    feed_forward_of,
    heads,
    require,
    rope_base,
    rope_settings,
)
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, Weights, only_ours, same
from lslm_lightning.types import JsonObject, Settings

PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
GATED = {"gate": "gate_proj", "inner": "up_proj", "output": "down_proj"}


class LlamaLike(Layout):
    """Base class of decoder-only layouts with the weight names of Llama.

    Attributes:
        feed_forward_names: name of each matrix of a feed-forward layer.
        lacks_output_bias: whether only queries, keys and values have biases.
        eps_name: setting of config.json with the number that the norm adds to the variance.
    """

    kind = "causal"
    feed_forward_names: Mapping[str, str] = GATED
    lacks_output_bias = False
    eps_name = "rms_norm_eps"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        size = parts.d_k + parts.d_k % 2  # positions rotate pairs of features
        return {
            "position": ("Rotary",),
            "norm_first": (True,),
            "embedding_norm": (False,),
            "head": ("TiedHead", "LinearHead"),
            "head_bias": (False,),
            "scale_embedding": (False,),
            "d_k": (size,),
            "d_v": (size,),
        }

    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        return {
            **self.common_config(parts, ids),
            "hidden_size": parts.d_model,
            "intermediate_size": parts.d_feedforward,
            "num_hidden_layers": parts.n_layer,
            "num_attention_heads": parts.n_head,
            "num_key_value_heads": parts.n_kv_head,
            "max_position_embeddings": parts.context,
            "hidden_act": activation_name(parts),
            self.eps_name: parts.norm_eps,
            **rope_settings(parts),
            **self.own_config(parts),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        """Return the settings of config.json that only this layout has."""
        return {}

    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        n_head = config["num_attention_heads"]
        d_head = config.get("head_dim") or config["hidden_size"] // n_head
        window = self.attention_window(config)
        return ModelParts(
            kind="causal",
            vocab_size=config["vocab_size"],
            d_model=config["hidden_size"],
            d_feedforward=config["intermediate_size"],
            n_encoder_layer=0,
            n_decoder_layer=config["num_hidden_layers"],
            n_head=n_head,
            n_kv_head=config.get("num_key_value_heads") or n_head,
            d_k=d_head,
            d_v=d_head,
            norm_eps=config[self.eps_name],
            position="Rotary",
            position_base=rope_base(config),
            head="TiedHead" if config["tie_word_embeddings"] else "LinearHead",
            context=min(MOST_CONTEXT, config["max_position_embeddings"], window or MOST_CONTEXT),
            **self.own_parts(config),
        )

    def attention_window(self, config: Settings) -> int | None:
        """Return the number of tokens that attention reaches back; None for all. A run whose
        `context` is no more computes the same.
        """
        return None

    def own_parts(self, config: Settings) -> JsonObject:
        """Return the parts that layouts with these names of weights do not share."""
        return {}

    def rows(self, parts: ModelParts) -> Iterator[Row]:
        yield same("embedding.weight", "model.embed_tokens.weight")
        if not parts.is_tied:
            yield same("head.weight", "lm_head.weight")
        norms = ("weight", "bias") if parts.norm_bias else ("weight",)
        for i in range(parts.n_layer):
            ours, theirs = f"backbone.decoder.layers.{i}", f"model.layers.{i}"
            for own, other in PROJECTIONS.items():
                name = f"{ours}.self_attention.{own}"
                yield same(f"{name}.weight", f"{theirs}.self_attn.{other}.weight")
                if not parts.attention_bias:
                    continue
                if own == "output" and self.lacks_output_bias:
                    yield only_ours(f"{name}.bias", parts.d_model)
                else:
                    yield same(f"{name}.bias", f"{theirs}.self_attn.{other}.bias")
            for own, other in self.feed_forward_names.items():
                for kind in ("weight", "bias") if parts.feed_forward_bias else ("weight",):
                    yield same(f"{ours}.feed_forward.{own}.{kind}", f"{theirs}.mlp.{other}.{kind}")
            for kind in norms:
                yield same(f"{ours}.self_norm.{kind}", f"{theirs}.input_layernorm.{kind}")
                yield same(
                    f"{ours}.feed_forward_norm.{kind}", f"{theirs}.post_attention_layernorm.{kind}"
                )
        for kind in norms:
            yield same(f"backbone.decoder.last.{kind}", f"model.norm.{kind}")

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        return {"lm_head.weight": "model.embed_tokens.weight"} if parts.is_tied else {}


class Llama(LlamaLike):
    """Llama: RMSNorm, SwiGLU or GEGLU, heads of any size, biases everywhere or nowhere."""

    model_type = "llama"
    architecture = "LlamaForCausalLM"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "norm": ("RMSNorm",),
            "feed_forward": ("SwiGLU", "GEGLU"),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {
            "head_dim": parts.d_k,
            "attention_bias": parts.attention_bias,
            "mlp_bias": parts.feed_forward_bias,
        }

    def own_parts(self, config: Settings) -> JsonObject:
        return {
            "norm": "RMSNorm",
            "norm_bias": False,
            "attention_bias": bool(config.get("attention_bias")),
            "feed_forward_bias": bool(config.get("mlp_bias")),
            **feed_forward_of(config, "hidden_act", GATES),
        }


class Mistral(LlamaLike):
    """Mistral: Llama without biases, whose attention may reach back a limited number of tokens."""

    model_type = "mistral"
    architecture = "MistralForCausalLM"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "norm": ("RMSNorm",),
            "feed_forward": ("SwiGLU", "GEGLU"),
            "attention_bias": (False,),
            "feed_forward_bias": (False,),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"head_dim": parts.d_k, "sliding_window": None}

    def attention_window(self, config: Settings) -> int | None:
        return config.get("sliding_window")

    def own_parts(self, config: Settings) -> JsonObject:
        return {
            "norm": "RMSNorm",
            "norm_bias": False,
            "attention_bias": False,
            "feed_forward_bias": False,
            **feed_forward_of(config, "hidden_act", GATES),
        }


class Qwen2(LlamaLike):
    """Qwen2: biases of queries, keys and values only."""

    model_type = "qwen2"
    architecture = "Qwen2ForCausalLM"
    lacks_output_bias = True

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "norm": ("RMSNorm",),
            "feed_forward": ("SwiGLU", "GEGLU"),
            "attention_bias": (True,),
            "has_output_bias": (False,),
            "feed_forward_bias": (False,),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"head_dim": parts.d_k, "use_sliding_window": False}

    def attention_window(self, config: Settings) -> int | None:
        return config.get("sliding_window") if config.get("use_sliding_window") else None

    def own_parts(self, config: Settings) -> JsonObject:
        return {
            "norm": "RMSNorm",
            "norm_bias": False,
            "attention_bias": True,
            "feed_forward_bias": False,
            **feed_forward_of(config, "hidden_act", GATES),
        }


class StableLm(LlamaLike):
    """StableLM: LayerNorm with gated feed-forward layers, if all features are rotated."""

    model_type = "stablelm"
    architecture = "StableLmForCausalLM"
    lacks_output_bias = True
    eps_name = "layer_norm_eps"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "norm": ("LayerNorm",),
            "norm_bias": (True,),
            "feed_forward": ("SwiGLU", "GEGLU"),
            "feed_forward_bias": (False,),
            "has_output_bias": (False,),
            **heads(parts, is_grouped=True, is_rotary=True),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {
            "use_qkv_bias": parts.attention_bias,
            "use_parallel_residual": False,
            "qk_layernorm": False,
        }

    def own_parts(self, config: Settings) -> JsonObject:
        require(config, use_parallel_residual=False, qk_layernorm=False)
        return {
            "attention_bias": bool(config.get("use_qkv_bias")),
            "feed_forward_bias": False,
            **feed_forward_of(config, "hidden_act", GATES),
        }
