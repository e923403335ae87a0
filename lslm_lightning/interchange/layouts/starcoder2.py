"""Layout of StarCoder2."""

from collections.abc import Mapping

from lslm_lightning.interchange.layouts.layout import ACTIVATIONS, feed_forward_of, heads
from lslm_lightning.interchange.layouts.llama import LlamaLike
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.types import JsonObject, Settings


class Starcoder2(LlamaLike):
    """StarCoder2: LayerNorm and feed-forward layers of two matrices, with grouped keys."""

    model_type = "starcoder2"
    architecture = "Starcoder2ForCausalLM"
    feed_forward_names = {"inner": "c_fc", "output": "c_proj"}  # noqa: RUF012 (never written to)
    eps_name = "norm_epsilon"

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "norm": ("LayerNorm",),
            "norm_bias": (True,),
            "feed_forward": ("GELU", "ReLU"),
            "feed_forward_bias": (parts.attention_bias,),
            **heads(parts, is_grouped=True, is_rotary=True),
        }

    def own_config(self, parts: ModelParts) -> JsonObject:
        return {"use_bias": parts.attention_bias, "sliding_window": None}

    def attention_window(self, config: Settings) -> int | None:
        return config.get("sliding_window")

    def own_parts(self, config: Settings) -> JsonObject:
        return {
            "attention_bias": bool(config["use_bias"]),
            "feed_forward_bias": bool(config["use_bias"]),
            **feed_forward_of(config, "hidden_act", ACTIVATIONS),
        }
