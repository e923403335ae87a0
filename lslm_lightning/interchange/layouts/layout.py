"""Interface of layouts: how another library names the parts and the weights of a model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple, TypeGuard

import torch
from torch import Tensor

from lslm_lightning.interchange.parts import Kind, ModelParts, class_path, key_of
from lslm_lightning.interchange.weights import Row, Weights
from lslm_lightning.types import JsonObject, Settings

MOST_CONTEXT = 1024  # tokens of a window of an imported language model

ACTIVATIONS: Mapping[str, tuple[str, str]] = {
    "relu": ("ReLU", ""),
    "gelu": ("GELU", "none"),
    "gelu_new": ("GELU", "tanh"),
    "gelu_pytorch_tanh": ("GELU", "tanh"),
    "gelu_fast": ("GELU", "tanh"),
}
"""Class of a feed-forward layer with two matrices, and how it computes GELU, by their name of the
activation function.
"""

GATES: Mapping[str, tuple[str, str]] = {
    "silu": ("SwiGLU", ""),
    "gelu": ("GEGLU", "none"),
    "gelu_pytorch_tanh": ("GEGLU", "tanh"),
    "gelu_new": ("GEGLU", "tanh"),
}
"""Class of a gated feed-forward layer, and how it computes GELU, by their name of the activation
function.
"""


class SpecialIds(NamedTuple):
    """Ids of the tokens with a role.

    Args:
        pad: padding.
        bos: start of a text; of a decoder's text if there is an encoder.
        eos: end of a text.
    """

    pad: int
    bos: int
    eos: int


class Obstacle(NamedTuple):
    """Part of a model that a layout cannot express.

    Args:
        key: config key of the part, below `model`.
        value: value that the model has.
        allowed: values that the layout can express, the usual one first.
    """

    key: str
    value: object
    allowed: tuple[object, ...]

    def __str__(self) -> str:
        allowed = " or ".join(map(shown, self.allowed))
        return f"{self.key}={shown(self.value)} (must be {allowed})"

    def option(self) -> str:
        """Return the command-line option that sets the part to a value of the layout."""
        value = self.allowed[0]
        return f"--model.{self.key} {class_path(value) if is_class(value) else shown(value)}"


def is_class(value: object) -> TypeGuard[str]:
    """Return whether a value of a part is the name of a class."""
    return isinstance(value, str) and class_path(value) != value


def shown(value: object) -> str:
    """Return a value as a config has it."""
    if isinstance(value, tuple):
        return str(list(value))
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class Layout(ABC):
    """Layout of a model in another library: its config.json and its names of weights.

    Attributes:
        model_type: name of the layout.
        architecture: name of the class that reads it.
        kind: kind of model.
        prefix: beginning of the names of all weights but those of the head.
        ignored: regular expression of names of weights that have no effect.
        unused: regular expression of the beginnings of names of weights that a run has no use for.
        dropouts: settings of config.json that our models have as `dropout`.
    """

    model_type: ClassVar[str]
    architecture: ClassVar[str]
    kind: ClassVar[Kind]
    prefix: ClassVar[str] = "model."
    ignored: ClassVar[str] = r"rotary_emb\.inv_freq$"
    unused: ClassVar[str] = r"(?!)"
    dropouts: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def allowed(self, parts: ModelParts) -> Mapping[str, tuple[object, ...]]:
        """Return the values that each part may have, the usual one first; any value of a part that
        is not listed will do.
        """

    @abstractmethod
    def config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        """Return the content of config.json."""

    def common_config(self, parts: ModelParts, ids: SpecialIds) -> JsonObject:
        """Return the settings of config.json that all layouts have."""
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "vocab_size": parts.vocab_size,
            "tie_word_embeddings": parts.is_tied,
            "pad_token_id": ids.pad,
            "bos_token_id": ids.bos,
            "eos_token_id": ids.eos,
        }

    @abstractmethod
    def parts(self, config: Settings, weights: Weights) -> ModelParts:
        """Return the parts of a model.

        Args:
            config: content of config.json, with the defaults filled in.
            weights: weights of the model, which tell what config.json does not.

        Raises:
            ValueError: our models have nothing like a setting of `config`.
        """

    @abstractmethod
    def rows(self, parts: ModelParts) -> Iterator[Row]:
        """Yield the rows of the table of weights."""

    def aliases(self, parts: ModelParts) -> Mapping[str, str]:
        """Return second names of weights that they may store twice, and the names in the table."""
        return {}

    def new_weights(self, config: Settings, weights: Weights) -> dict[str, Tensor]:
        """Return weights of theirs that a file without a head lacks, made anew in float32."""
        return {}

    def obstacles(self, parts: ModelParts) -> list[Obstacle]:
        """Return the parts of a model that this layout cannot express."""
        return obstacles_of(parts, {**self.allowed(parts), "blocked_ids": ((),)})


def obstacles_of(parts: ModelParts, allowed: Mapping[str, tuple[object, ...]]) -> list[Obstacle]:
    """Return the parts of a model that have none of the values allowed."""
    return [
        Obstacle(key_of(name), value, values)
        for name, values in allowed.items()
        if (value := getattr(parts, name)) not in values
    ]


def heads(
    parts: ModelParts, *, is_grouped: bool = False, is_rotary: bool = False
) -> dict[str, tuple[object, ...]]:
    """Return the numbers and sizes of heads in a layout whose heads are d_model / n_head wide: the
    number nearest to that of a model if it does not divide d_model.

    Args:
        is_grouped: whether several heads may share their keys and values.
        is_rotary: whether positions rotate pairs of features, so that sizes are even.
    """
    d_model, n_kv = parts.d_model, parts.n_kv_head
    fitting = [
        n
        for n in range(1, d_model + 1)
        if d_model % n == 0 and not (is_rotary and d_model // n % 2)
    ]
    n_head = min(fitting or [1], key=lambda n: (abs(n - parts.n_head), n))
    size = d_model // n_head
    return {
        "n_head": (n_head,),
        "n_kv_head": (n_kv if is_grouped and n_head % n_kv == 0 else n_head,),
        "d_k": (size,),
        "d_v": (size,),
    }


def of_gpt(parts: ModelParts, position: str) -> dict[str, tuple[object, ...]]:
    """Return the values that each part may have in a layout with the blocks of GPT-2.

    Args:
        position: class of the positional encoding.
    """
    return {
        "norm": ("LayerNorm",),
        "norm_bias": (True,),
        "norm_first": (True,),
        "embedding_norm": (False,),
        "position": (position,),
        "feed_forward": ("GELU", "ReLU"),
        **heads(parts, is_rotary=position == "Rotary"),
        "head": ("TiedHead", "LinearHead"),
        "head_bias": (False,),
        "scale_embedding": (False,),
    }


def require(config: Settings, **expected: object) -> None:
    """Check settings of a config.json; one that is missing counts as expected.

    Args:
        expected: value, or tuple of values, of each setting.

    Raises:
        ValueError: a setting has another value.
    """
    for name, value in expected.items():
        values = value if isinstance(value, tuple) else (value,)
        if name in config and config[name] not in values:
            raise ValueError(
                f"its config.json has {name}={shown(config[name])}, and our models have only "
                f"{' or '.join(map(shown, values))}; import a model with that"
            )


def activation_name(parts: ModelParts) -> str:
    """Return their name of the activation function of the feed-forward layers."""
    wanted = (parts.feed_forward, parts.approximate)
    for names in (ACTIVATIONS, GATES):
        for name, known in names.items():
            if known == wanted:
                return name
    raise AssertionError(wanted)


def feed_forward_of(
    config: Settings, name: str, known: Mapping[str, tuple[str, str]]
) -> JsonObject:
    """Return the parts of a feed-forward layer for the setting `name` of a config.json.

    Raises:
        ValueError: our models have no such activation function.
    """
    require(config, **{name: tuple(known)})
    kind, approximate = known[config[name]]
    return {"feed_forward": kind, "approximate": approximate}


def rope_base(config: Settings) -> float:
    """Return the base of the wavelengths of rotary positions.

    Raises:
        ValueError: the positions are scaled, or only a share of the features is rotated.
    """
    rope = config.get("rope_parameters") or {}
    require(rope, rope_type="default", partial_rotary_factor=1.0)
    return float(rope.get("rope_theta", 10_000.0))


def rope_settings(parts: ModelParts) -> JsonObject:
    """Return the settings of rotary positions in config.json, which `transformers` 5 reads from
    `rope_parameters` and 4 from settings of their own.
    """
    own = {"rope_theta": parts.position_base, "partial_rotary_factor": 1.0}
    return {"rope_parameters": {"rope_type": "default", **own}, **own}


def is_nonzero(weights: Weights, name: str) -> bool:
    """Return whether there is a weight of this name that is not all zero."""
    return name in weights and bool(torch.count_nonzero(weights[name]))
