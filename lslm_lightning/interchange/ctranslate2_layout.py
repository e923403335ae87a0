"""Layout of Transformers in CTranslate2: its specification of a model, and its names of weights."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.layouts.bart import BASE, TABLE_TOLERANCE, sinusoids
from lslm_lightning.interchange.layouts.layout import Obstacle, SpecialIds, obstacles_of
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.weights import Row, constant, copies, fused, same, zeros

if TYPE_CHECKING:
    from ctranslate2.specs import TransformerDecoderModelSpec, TransformerSpec

N_POSITION = 1024  # of a table of sinusoids, unless texts are longer
GATED = ("SwiGLU", "GEGLU")
ACTIVATIONS = {
    ("ReLU", ""): "RELU",
    ("GELU", "none"): "GELU",
    ("GELU", "tanh"): "GELUTanh",
    ("SwiGLU", ""): "SWISH",
    ("GEGLU", "none"): "GELU",
    ("GEGLU", "tanh"): "GELUTanh",
}
"""Their name of the activation function, by class and approximation of a feed-forward layer."""
READ = ("query", "key", "value")


def layout_name(parts: ModelParts) -> str:
    """Return the name of the specification that a model is written in.

    Raises:
        NoLayoutError: CTranslate2 cannot express the model; the message names the parts in the way,
            and the options of a config that it can express.
    """
    if found := obstacles_of(parts, allowed(parts)):
        raise NoLayoutError(explain(found))
    return "TransformerDecoder" if parts.kind == "causal" else "Transformer"


def explain(obstacles: Sequence[Obstacle]) -> str:
    """Return a message about a model that CTranslate2 cannot express."""
    in_the_way = ", ".join(map(str, obstacles))
    options = " ".join(obstacle.option() for obstacle in obstacles)
    return (
        f"CTranslate2 cannot express this model; in the way: {in_the_way}. Trained with {options}, "
        "a model can be exported"
    )


def allowed(parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
    """Return the values that each part may have, the usual one first; any value of a part that is
    not listed will do.
    """
    is_power_of_two = parts.n_head & (parts.n_head - 1) == 0
    has_alibi = parts.kind == "causal" and is_power_of_two
    return {
        "position": ("Rotary", "Sinusoidal", "Learned", *(("ALiBi",) if has_alibi else ())),
        **({"position_base": (BASE,)} if parts.position == "Sinusoidal" else {}),
        "norm": ("LayerNorm", "RMSNorm"),
        "feed_forward": ("GELU", "ReLU", *GATED),
        "d_v": (parts.d_k,),
        "head": ("TiedHead", "LinearHead"),
        "blocked_ids": ((),),
    }


def specification(parts: ModelParts) -> "TransformerSpec | TransformerDecoderModelSpec":
    """Return the specification of a model, without its weights and vocabulary."""
    from ctranslate2.specs import (
        TransformerDecoderModelSpec,
        TransformerDecoderSpec,
        TransformerEncoderSpec,
        TransformerSpec,
    )
    from ctranslate2.specs.common_spec import Activation

    activation = ACTIVATIONS[parts.feed_forward, parts.approximate]
    shared = {
        "pre_norm": parts.norm_first,
        "activation": Activation[activation],
        "layernorm_embedding": parts.embedding_norm,
        "ffn_glu": parts.feed_forward in GATED,
        "rms_norm": parts.norm == "RMSNorm",
        "num_heads_kv": None if parts.n_kv_head == parts.n_head else parts.n_kv_head,
        "head_dim": parts.d_k,
    }
    if parts.position == "Rotary":
        base = parts.position_base
        shared |= {"rotary_dim": 0, "rotary_interleave": False, "rotary_base": base}
    is_causal = parts.kind == "causal"
    decoder = TransformerDecoderSpec(
        parts.n_decoder_layer,
        parts.n_head,
        with_encoder_attention=not is_causal,
        alibi=parts.position == "ALiBi",
        **shared,
    )
    decoder.scale_embeddings = parts.scale_embedding
    if is_causal:
        spec = TransformerDecoderModelSpec(decoder)
    else:
        encoder = TransformerEncoderSpec(parts.n_encoder_layer, parts.n_head, **shared)
        encoder.scale_embeddings = parts.scale_embedding
        spec = TransformerSpec(encoder, decoder)
    spec.config.layer_norm_epsilon = parts.norm_eps
    return spec


def fill(
    spec: "TransformerSpec | TransformerDecoderModelSpec", weights: Mapping[str, Tensor]
) -> None:
    """Set the weights of a specification.

    Args:
        weights: name -> weight, on the CPU.
    """
    from ctranslate2.specs.model_spec import index_spec

    for name, weight in weights.items():
        scope, _, attribute = name.rpartition("/")
        values = weight.float().numpy().copy()  # rounding to int8 changes them in place
        setattr(index_spec(spec, scope), attribute, values)


def add_vocabulary(
    spec: "TransformerSpec | TransformerDecoderModelSpec",
    tokens: list[str],
    ids: SpecialIds,
    is_causal: bool,
) -> None:
    """Set the tokens of a specification.

    Args:
        tokens: token of each id, no two alike.
        ids: ids of the special tokens.
        is_causal: whether the model is a language model.
    """
    config = spec.config
    config.bos_token = tokens[ids.bos]
    config.eos_token = tokens[ids.eos]
    config.unk_token = tokens[ids.pad]  # any: it is read and written for no text
    if is_causal:
        spec.register_vocabulary(tokens)
        return
    config.decoder_start_token = tokens[ids.bos]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)


def rows(parts: ModelParts) -> Iterator[Row]:
    """Yield the rows of the table of weights."""
    inputs = {"encoder": "encoder/embeddings_0/weight", "decoder": "decoder/embeddings/weight"}
    vectors = [inputs[stack] for stack in parts.stacks]
    output = "decoder/projection"
    yield copies("embedding.weight", *vectors, *([f"{output}/weight"] if parts.is_tied else []))
    if not parts.is_tied:
        yield same("head.weight", f"{output}/weight")
    if parts.head_bias:
        yield same("head.bias", f"{output}/bias")
    for stack, n_layer in parts.stacks.items():
        yield from positions(parts, stack)
        if parts.embedding_norm:
            yield from norm(parts, f"backbone.{stack}.first", f"{stack}/layernorm_embedding")
        if parts.norm_first:
            yield from norm(parts, f"backbone.{stack}.last", f"{stack}/layer_norm")
        for i in range(n_layer):
            ours, theirs = f"backbone.{stack}.layers.{i}", f"{stack}/layer_{i}"
            yield from self_attention(parts, ours, theirs)
            if stack == "decoder" and parts.kind != "causal":
                yield from cross_attention(parts, ours, theirs)
            yield from feed_forward(parts, ours, theirs)


def positions(parts: ModelParts, stack: str) -> Iterator[Row]:
    """Yield the row of the positional encoding of a stack, if its inputs carry one."""
    theirs = f"{stack}/position_encodings/encodings"
    if parts.position == "Learned":
        yield same(f"backbone.{stack}.position.weight", theirs)
    elif parts.position == "Sinusoidal":
        shape = parts.context or N_POSITION, parts.d_model
        yield constant(theirs, shape, partial(sinusoids, *shape), TABLE_TOLERANCE)


def norm(parts: ModelParts, ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of a normalization layer."""
    yield same(f"{ours}.weight", f"{theirs}/gamma")
    if parts.norm == "LayerNorm":
        beta = f"{theirs}/beta"
        yield same(f"{ours}.bias", beta) if parts.norm_bias else zeros(beta, parts.d_model)


def linear(ours: Sequence[str], theirs: str, has_bias: bool) -> Iterator[Row]:
    """Yield the rows of a linear map, which may be several of ours, one below the other."""
    for kind in ("weight", "bias") if has_bias else ("weight",):
        names = [f"{name}.{kind}" for name in ours]
        row = f"{theirs}/{kind}"
        yield fused(names, row) if len(names) > 1 else same(names[0], row)


def self_attention(parts: ModelParts, ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of the self-attention of a layer and of its norm."""
    own, other, bias = f"{ours}.self_attention", f"{theirs}/self_attention", parts.attention_bias
    yield from linear([f"{own}.{name}" for name in READ], f"{other}/linear_0", bias)
    yield from linear([f"{own}.output"], f"{other}/linear_1", bias)
    yield from norm(parts, f"{ours}.self_norm", f"{other}/layer_norm")


def cross_attention(parts: ModelParts, ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of the attention of a decoder layer to the source, and of its norm."""
    own, other, bias = f"{ours}.cross_attention", f"{theirs}/attention", parts.attention_bias
    yield from linear([f"{own}.query"], f"{other}/linear_0", bias)
    yield from linear([f"{own}.{name}" for name in READ[1:]], f"{other}/linear_1", bias)
    yield from linear([f"{own}.output"], f"{other}/linear_2", bias)
    yield from norm(parts, f"{ours}.cross_norm", f"{other}/layer_norm")


def feed_forward(parts: ModelParts, ours: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of the feed-forward layer of a layer, and of its norm."""
    own, other, bias = f"{ours}.feed_forward", f"{theirs}/ffn", parts.feed_forward_bias
    is_gated = parts.feed_forward in GATED
    yield from linear([f"{own}.{'gate' if is_gated else 'inner'}"], f"{other}/linear_0", bias)
    if is_gated:
        yield from linear([f"{own}.inner"], f"{other}/linear_0_noact", bias)
    yield from linear([f"{own}.output"], f"{other}/linear_1", bias)
    yield from norm(parts, f"{ours}.feed_forward_norm", f"{other}/layer_norm")
