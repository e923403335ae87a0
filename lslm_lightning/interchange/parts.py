"""Description of a Transformer model by its parts, read off a task or written as a config."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import nn

from lslm_lightning.models.attention import Attention
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.models.feed_forward import FeedForward, GatedFeedForward
from lslm_lightning.models.heads import LinearHead, TiedHead
from lslm_lightning.models.stack import Stack
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import SpanModel
from lslm_lightning.types import JsonObject

Kind: TypeAlias = Literal["causal", "sequence-to-sequence", "span-extraction"]

HOMES = (
    "lslm_lightning.models.positions",
    "lslm_lightning.models.feed_forward",
    "lslm_lightning.models.heads",
    "lslm_lightning.models.transformer",
    "torch.nn",
)
"""Modules whose classes a part names without their path."""

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "position_base": "backbone.position.base",
        "max_positions": "backbone.position.max_length",
        "n_bucket": "backbone.position.n_bucket",
        "max_distance": "backbone.position.max_distance",
        "norm_eps": "backbone.norm.eps",
        "norm_bias": "backbone.norm.bias",
        "feed_forward_bias": "backbone.feed_forward.bias",
        "approximate": "backbone.feed_forward.approximate",
        "attention_bias": "backbone.bias",
        "has_output_bias": "backbone.bias",
        "head": "head",
        "head_bias": "head.bias",
        "blocked_ids": "head.blocked_ids",
        "scale_embedding": "scale_embedding",
        "context": "context",
        "flow": "flow",
        "overlap_features": "overlap_features",
        "answerability_head": "answerability_head",
    }
)
"""Config key of each part, below `model`; `backbone.<name>` for a part that is not listed."""


@dataclass(frozen=True)
class ModelParts:
    """Parts of a Transformer model: all that determines its function, except its weights.

    Args:
        kind: decoder-only language model, encoder and decoder, or encoder that finds a span.
        vocab_size: number of tokens.
        d_model: size of the vectors between layers.
        d_feedforward: inner size of the feed-forward layers.
        n_encoder_layer: number of encoder layers.
        n_decoder_layer: number of decoder layers.
        n_head: number of attention heads.
        n_kv_head: number of key-value heads.
        d_k: size of the queries and keys of a head.
        d_v: size of the values of a head.
        norm: class of the normalization layers.
        norm_eps: number that the norm adds to the variance.
        norm_bias: whether the norm adds a bias.
        norm_first: pre-norm instead of post-norm.
        embedding_norm: whether the inputs of each stack are normalized.
        position: class of the positional encoding.
        position_base: base of the wavelengths; None for a class without one.
        max_positions: number of positions; None if unlimited.
        n_bucket: number of values of a head of `RelativeBuckets`; None for another class.
        max_distance: distance from which on `RelativeBuckets` has one value; None for another
            class.
        feed_forward: class of the feed-forward layers.
        feed_forward_bias: whether these have biases.
        approximate: how GELU is computed, "none" or "tanh"; "" for another class.
        attention_bias: whether the projections of attention have biases.
        has_output_bias: whether a bias behind attention is not zero; told from the weights.
        head: class of the output head.
        head_bias: whether the head has a bias.
        blocked_ids: tokens that the head never writes.
        scale_embedding: whether token vectors are multiplied by sqrt(d_model).
        dropout: share of the values that are set to zero in training.
        context: number of tokens in a window of a language model; number of positions to compute
            for another model without `max_positions`, None for any.
        flow: class of the module that encodes two texts on their own; None if they are read as one.
        overlap_features: whether tokens are embedded with more features than their segment.
        answerability_head: class of the module that decides whether there is a span; None if the
            scores of the first token do.
        threshold: log-odds that no span needs against the best one; infinite if there always is
            one.
    """

    kind: Kind
    vocab_size: int
    d_model: int
    d_feedforward: int
    n_encoder_layer: int
    n_decoder_layer: int
    n_head: int
    n_kv_head: int
    d_k: int
    d_v: int
    norm: str = "LayerNorm"
    norm_eps: float = 1e-5
    norm_bias: bool = True
    norm_first: bool = True
    embedding_norm: bool = False
    position: str = "Rotary"
    position_base: float | None = None
    max_positions: int | None = None
    n_bucket: int | None = None
    max_distance: int | None = None
    feed_forward: str = "GELU"
    feed_forward_bias: bool = True
    approximate: str = ""
    attention_bias: bool = True
    has_output_bias: bool = field(default=False, compare=False)
    head: str = "TiedHead"
    head_bias: bool = False
    blocked_ids: tuple[int, ...] = ()
    scale_embedding: bool = False
    dropout: float = 0.0
    context: int | None = None
    flow: str | None = None
    overlap_features: bool = False
    answerability_head: str | None = None
    threshold: float = field(default=math.inf, compare=False)

    @property
    def n_layer(self) -> int:
        """Number of layers of a decoder-only model."""
        return self.n_decoder_layer

    @property
    def is_tied(self) -> bool:
        """True if the head uses the token embedding."""
        return self.head == "TiedHead"

    @property
    def stacks(self) -> dict[str, int]:
        """Number of layers of each stack that the model has, by its name in the backbone."""
        numbers = {"encoder": self.n_encoder_layer, "decoder": self.n_decoder_layer}
        return {name: n for name, n in numbers.items() if n}

    def model_spec(self) -> JsonObject:
        """Return the arguments of a task that build this model: its backbone, head and embedding,
        as class paths and `init_args`.
        """
        norm: JsonObject = {"eps": self.norm_eps}
        if self.norm == "LayerNorm" and not self.norm_bias:
            norm["bias"] = False
        position: JsonObject = {}
        if self.position_base is not None:
            position["base"] = self.position_base
        if self.position == "Learned":
            position["max_length"] = self.max_positions
        if self.position == "RelativeBuckets":
            position |= {"n_bucket": self.n_bucket, "max_distance": self.max_distance}
        feed_forward: JsonObject = {"bias": self.feed_forward_bias}
        if self.feed_forward in ("GELU", "GEGLU"):
            feed_forward["approximate"] = self.approximate
        head: JsonObject = {"bias": self.head_bias}
        if self.blocked_ids:
            head["blocked_ids"] = list(self.blocked_ids)
        backbone: JsonObject = {
            "d_model": self.d_model,
            "n_head": self.n_head,
            "n_encoder_layer": self.n_encoder_layer,
            "n_decoder_layer": self.n_decoder_layer,
            "d_feedforward": self.d_feedforward,
            "d_k": self.d_k,
            "d_v": self.d_v,
            "n_kv_head": self.n_kv_head,
            "dropout": self.dropout,
            "position": class_spec(self.position, position),
            "norm": class_spec(self.norm, norm),
            "norm_first": self.norm_first,
            "feed_forward": class_spec(self.feed_forward, feed_forward),
            "bias": self.attention_bias,
            "embedding_norm": self.embedding_norm,
        }
        spec: JsonObject = {
            "backbone": class_spec("Transformer", backbone),
            "scale_embedding": self.scale_embedding,
        }
        if self.kind == "span-extraction":
            return {**spec, "overlap_features": self.overlap_features}
        spec["head"] = class_spec(self.head, head)
        return {**spec, **({"context": self.context} if self.kind == "causal" else {})}


def class_spec(name: str, arguments: JsonObject) -> JsonObject:
    """Return the `class_path` and `init_args` of a class that a part names."""
    return {"class_path": class_path(name), "init_args": arguments}


def class_path(name: str) -> str:
    """Return the path of a class that a part names."""
    return next((f"{home}.{name}" for home in HOMES if hasattr(import_module(home), name)), name)


def name_of(part: object) -> str:
    """Return the name of the class of an object: without its path if it stands in `HOMES`."""
    kind = type(part)
    if any(getattr(import_module(home), kind.__name__, None) is kind for home in HOMES):
        return kind.__name__
    return f"{kind.__module__}.{kind.__qualname__}"


def key_of(part: str) -> str:
    """Return the config key of a field of `ModelParts`, below `model`."""
    return KEYS.get(part, f"backbone.{part}")


class UnknownPartsError(ValueError):
    """Error: a task is no Transformer model that `ModelParts` can describe."""


def read_parts(task: nn.Module) -> ModelParts:
    """Return the parts of the model of a task.

    Raises:
        UnknownPartsError: the task is of another kind, or its backbone is no `Transformer`.
    """
    if isinstance(task, CausalTask):
        kind: Kind = "causal"
    elif isinstance(task, SequenceToSequenceTask):
        kind = "sequence-to-sequence"
    elif isinstance(task, SpanModel):
        kind = "span-extraction"
    else:
        raise UnknownPartsError(
            f"model={type(task).__name__} cannot be described by parts: it must be a language "
            "model (CausalTask), read one text and write another (SequenceToSequenceTask), or find "
            "a span (SpanModel)"
        )
    backbone = task.backbone
    if type(backbone) is not Transformer:
        raise UnknownPartsError(
            f"model.backbone={type(backbone).__name__} cannot be described by parts: it must be "
            "lslm_lightning.models.transformer.Transformer; train with it to export"
        )
    if type(task.embedding) is not TokenEmbedding:
        raise UnknownPartsError(
            f"the embedding {type(task.embedding).__name__} of the model cannot be described by "
            "parts: it must be lslm_lightning.models.embedding.TokenEmbedding; train a task that "
            "keeps it"
        )
    scale = task.embedding.scale
    if scale is not None and not math.isclose(scale, math.sqrt(backbone.d_model)):
        raise UnknownPartsError(
            f"the scale {scale} of the token vectors must be 1 or sqrt(d_model)="
            f"{math.sqrt(backbone.d_model)}; set model.scale_embedding to false or true"
        )
    return ModelParts(
        kind=kind,
        vocab_size=task.embedding.weight.size(0),
        scale_embedding=scale is not None,
        context=task.context if isinstance(task, CausalTask) else None,
        **(span_parts(task) if isinstance(task, SpanModel) else head_parts(task.head)),
        **backbone_parts(backbone),
    )


def head_parts(head: nn.Module) -> JsonObject:
    """Return the fields of `ModelParts` that an output head determines."""
    known = TiedHead if type(head) is TiedHead else LinearHead
    return {
        "head": name_of(head),
        "head_bias": isinstance(head, known) and head.bias is not None,
        "blocked_ids": head.blocked_ids if isinstance(head, known) else (),
    }


def span_parts(task: SpanModel) -> JsonObject:
    """Return the fields of `ModelParts` that only models which find a span have."""
    flow, head = task.flow, task.answerability_head
    return {
        "flow": None if flow is None else name_of(flow),
        "overlap_features": len(list(task.marks.parameters())) > 1,
        "answerability_head": None if head is None else name_of(head),
        "threshold": float(task.threshold),
    }


def backbone_parts(backbone: Transformer) -> JsonObject:
    """Return the fields of `ModelParts` that a backbone determines."""
    stack = next(each for each in (backbone.decoder, backbone.encoder) if each is not None)
    assert isinstance(stack, Stack)
    layer = stack.layers[0]
    attention: Attention = layer.self_attention  # type: ignore[assignment]
    norm: nn.Module = layer.self_norm  # type: ignore[assignment]
    feed_forward: nn.Module = layer.feed_forward  # type: ignore[assignment]
    position = stack.position
    inner = next((each for each in feed_forward.modules() if isinstance(each, nn.Linear)), None)
    base = getattr(position, "base", None)
    return {
        "d_model": backbone.d_model,
        "d_feedforward": backbone.d_model if inner is None else inner.out_features,
        "n_encoder_layer": backbone.n_encoder_layer,
        "n_decoder_layer": backbone.n_decoder_layer,
        "n_head": attention.n_head,
        "n_kv_head": attention.n_kv_head,
        "d_k": attention.d_k,
        "d_v": attention.d_v,
        "norm": name_of_norm(norm),
        "norm_eps": eps_of(norm),
        "norm_bias": getattr(norm, "bias", None) is not None,
        "norm_first": bool(layer.norm_first),
        "embedding_norm": not isinstance(stack.first, nn.Identity),
        "position": name_of(position),
        "position_base": None if base is None else float(base),
        "max_positions": position.max_length,
        "n_bucket": getattr(position, "n_bucket", None),
        "max_distance": getattr(position, "max_distance", None),
        "feed_forward": name_of(feed_forward),
        "feed_forward_bias": isinstance(feed_forward, FeedForward | GatedFeedForward)
        and feed_forward.inner.bias is not None,
        "approximate": str(getattr(feed_forward, "approximate", "")),
        "attention_bias": attention.query.bias is not None,
        "has_output_bias": any(
            bool(module.output.bias.any())
            for module in backbone.modules()
            if isinstance(module, Attention) and module.output.bias is not None
        ),
        "dropout": float(stack.dropout.p),
    }


def name_of_norm(norm: nn.Module) -> str:
    """Return the name of the class of a norm; one without weights is named with its setting."""
    name = name_of(norm)
    has_weight = getattr(norm, "weight", None) is not None
    return name if has_weight else f"{name}(elementwise_affine=False)"


def eps_of(norm: nn.Module) -> float:
    """Return the number that a norm adds to the variance, in float32 if it depends on the type."""
    eps = getattr(norm, "eps", None)
    return torch.finfo(torch.float32).eps if eps is None else float(eps)
