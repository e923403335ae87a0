"""Layouts of GGUF: models of llama.cpp, and its names of their weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from lslm_lightning.interchange.layouts import NoLayoutError, choose_layout
from lslm_lightning.interchange.layouts.layout import Layout
from lslm_lightning.interchange.layouts.llama import Llama
from lslm_lightning.interchange.layouts.starcoder2 import Starcoder2
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Weights, to_theirs

if TYPE_CHECKING:
    from gguf import GGUFWriter

PERMUTED = (".attn_q.", ".attn_k.")
PERMUTED_NOTE = "rows of queries and keys are reordered, since llama.cpp rotates neighbours"


class GgufLlama(Llama):
    """Llama as llama.cpp computes it: with SwiGLU alone."""

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {**super().allowed(parts), "feed_forward": ("SwiGLU",)}


class GgufStarcoder2(Starcoder2):
    """StarCoder2 as llama.cpp computes it: with GELU by the tanh approximation, and all biases."""

    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        return {
            **super().allowed(parts),
            "feed_forward": ("GELU",),
            "approximate": ("tanh",),
            "attention_bias": (True,),
            "feed_forward_bias": (True,),
        }


LAYOUTS: tuple[Layout, ...] = (GgufLlama(), GgufStarcoder2())
"""Layouts that can be written; of several that can express a model, the first is written."""


def gguf_layout(parts: ModelParts, name: str | None = None) -> Layout:
    """Return the layout of a name, or the first one that can express a model.

    Raises:
        ValueError: there is no layout of this name.
        NoLayoutError: no layout can express the model; the message names the parts in the way, and
            the options of a config that it can express.
    """
    if parts.kind != "causal":
        raise NoLayoutError(
            f"GGUF is written for language models, and this one is {parts.kind}; take --to "
            "huggingface or ctranslate2"
        )
    return choose_layout(parts, name, LAYOUTS, "llama.cpp")


def gguf_weights(layout: Layout, parts: ModelParts, ours: Weights) -> dict[str, Tensor]:
    """Return the weights of a model by the names that llama.cpp gives them.

    Args:
        ours: weights by our names.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    [architecture] = [key for key, name in MODEL_ARCH_NAMES.items() if name == layout.model_type]
    names = get_tensor_name_map(architecture, parts.n_layer)
    found = {}
    for other, weight in to_theirs(layout.rows(parts), ours).items():
        name = names.get_name(other, try_suffixes=(".weight", ".bias"))
        assert name is not None, other
        is_permuted = layout.model_type == "llama" and any(part in name for part in PERMUTED)
        found[name] = interleaved(weight, parts.d_k) if is_permuted else weight
    return found


def interleaved(weight: Tensor, d_head: int) -> Tensor:
    """Return a projection of which each head has the features of a pair side by side, where ours
    has all first ones before all second ones.

    Args:
        weight: matrix or bias, the features (H x d_head) of all heads first.
    """
    pairs = weight.unflatten(0, (-1, 2, d_head // 2))
    return pairs.transpose(1, 2).reshape(weight.shape)


def add_metadata(writer: "GGUFWriter", layout: Layout, parts: ModelParts) -> None:
    """Add the sizes and constants of a model to a file."""
    assert parts.context is not None
    assert parts.position_base is not None
    writer.add_vocab_size(parts.vocab_size)
    writer.add_context_length(parts.context)
    writer.add_embedding_length(parts.d_model)
    writer.add_block_count(parts.n_layer)
    writer.add_feed_forward_length(parts.d_feedforward)
    writer.add_head_count(parts.n_head)
    writer.add_head_count_kv(parts.n_kv_head)
    writer.add_key_length(parts.d_k)
    writer.add_value_length(parts.d_v)
    writer.add_rope_dimension_count(parts.d_k)
    writer.add_rope_freq_base(parts.position_base)
    if parts.norm == "RMSNorm":
        writer.add_layer_norm_rms_eps(parts.norm_eps)
    else:
        writer.add_layer_norm_eps(parts.norm_eps)
