"""Base class of pretrained networks: loading of weights and configuration, and the embedding and
head that are part of the network.

Axes: B rows, T time, V vocabulary.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from lslm_lightning.adapters.low_rank import adapted_names, is_of_adapter, start_from_base
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.heads import Head, Source, TiedHead
from lslm_lightning.safety.parameters import Bounds, bounded_parameters
from lslm_lightning.text.hugging_face import (
    NO_CODE,
    HuggingFaceTokenizer,
    check_runs_no_code,
    is_local,
    model_config,
    reason,
)
from lslm_lightning.text.model_sizes import bounds_of, check_sizes
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Loaded = TypeVar("Loaded")

# settings of a config.json that do not describe the network
ORIGIN = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
    "transformers_version",
)
REMOTE = ("auto_map", "custom_pipelines", "custom_generate")  # name Python files of a repository


class IdentityEmbedding(nn.Module):
    """Identity used as the embedding of a network that reads token ids."""

    weight = None

    def forward(self, ids: Tensor) -> Tensor:
        return ids


class IdentityHead(Head):
    """Identity used as the head of a network that returns token scores."""

    def forward(self, y: Tensor, embedding: Tensor | None, source: Source | None = None) -> Tensor:
        return y


class Pretrained(Backbone):
    """Base class of models of `transformers`, which have their own embedding and head: ids (B, T)
    in, scores (B, T, V) out.

    Weights are read from safetensors only, when training begins. Code from the repository of a
    model is never run. To load a checkpoint, `config` and `tokenizer_digest` suffice, which a run
    records.

    Args:
        path: folder saved with `save_pretrained`, tokenizer included, or a hub id.
        config: configuration of the network, as in its config.json; by default read from `path`.
        tokenizer_digest: digest of the tokenizer; by default computed from the tokenizer at `path`.
    """

    auto_class: str  # name of the class of `transformers` that loads it
    model_kind: str  # kind of model, for messages
    # arguments of that class that leave out parts of the model
    optional_parts: Mapping[str, bool] = {}
    model: "PreTrainedModel"
    path: str

    def __init__(
        self, path: str, config: JsonObject | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__()
        self.path = path
        bounds = Bounds()  # none for the config of a run: its checkpoint is the bound
        if config is not None:
            check_recorded_config(config, path)
        else:
            config = without_origin(model_config(path))
            bounds = bounds_of(path)
            check_weights(Path(path))
        if tokenizer_digest is None:
            tokenizer_digest = HuggingFaceTokenizer(path).train().digest
        self.resolved_config = {"config": config, "tokenizer_digest": tokenizer_digest}
        self.tokenizer_digest = tokenizer_digest
        with bounded_parameters(bounds, f"{path}: its config.json does not fit its weights"):
            self.model = self._build(config)
        text_config = self.model.config.get_text_config()
        self.d_model = text_config.hidden_size
        embedding = self.model.get_input_embeddings()
        self.vocab_size: int = embedding.num_embeddings  # type: ignore[assignment]  # all have it
        self.max_length = getattr(text_config, "max_position_embeddings", None)
        self.has_weights = False
        self.register_load_state_dict_post_hook(lambda module, _: module._has_loaded())

    def _build(self, config: JsonObject) -> "PreTrainedModel":
        """Return the network for a configuration, without pretrained weights.

        Raises:
            ValueError: the configuration is of another kind of model.
        """
        try:
            import transformers

            parsed = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
            if parsed.is_encoder_decoder != self.is_encoder_decoder:
                raise ValueError(
                    f"a {parsed.model_type} "
                    f"{'has' if parsed.is_encoder_decoder else 'lacks'} an encoder"
                )
            return self._without_optional_parts(
                partial(
                    getattr(transformers, self.auto_class).from_config,
                    parsed,
                    dtype=torch.float32,
                    **NO_CODE,
                )
            )
        except (KeyError, ValueError, ImportError) as error:
            what = (
                "a model_type that is unknown here"
                if isinstance(error, KeyError)
                else " ".join(str(error).split())[:200]
            )
            raise ValueError(
                f"{self.path} is not what {type(self).__name__} takes ({self.model_kind}): {what}"
            ) from None

    def _without_optional_parts(self, make: Callable[..., Loaded]) -> Loaded:
        """Return `make(**self.optional_parts)`, or `make()` if `make` does not take these
        arguments.
        """
        try:
            return make(**self.optional_parts)
        except TypeError:
            return make()

    @property
    @abstractmethod
    def is_encoder_decoder(self) -> bool:
        """True if the model must have both an encoder and a decoder, False if it must have one of
        them.
        """

    @torch.no_grad()
    def attends_ahead(self, read: Callable[[Tensor], Tensor]) -> bool:
        """Return whether the output for the first token depends on the second token.

        Args:
            read: function from ids (B, T) to outputs (B, T, ...).
        """
        training = self.training
        self.eval()
        first, second = (read(torch.tensor([[0, i]]))[:, 0] for i in (1, 2))
        self.train(training)
        return not torch.equal(first, second)

    def _has_loaded(self) -> None:
        self.has_weights = True

    def embedding_and_head(
        self, vocab_size: int, head: Callable[[int, int], Head], scale_embedding: bool
    ) -> tuple[nn.Module, Head]:
        if not isinstance(head(1, 1), TiedHead):
            raise ValueError(f"model.head must be left out: {self.path} has its own")
        return IdentityEmbedding(), IdentityHead()

    def load_pretrained_weights(self) -> None:
        """Load the weights at `path`, unless weights were loaded already.

        Raises:
            ValueError: the weights are missing, not in safetensors, or of another network.
        """
        if self.has_weights:
            return
        import transformers
        from safetensors import SafetensorError

        options: dict[str, object] = {"use_safetensors": True, "use_kernels": False, **NO_CODE}
        options |= {"local_files_only": is_local(self.path), "dtype": torch.float32}
        # weights that do not fit are listed, and refused below
        options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        auto_class = getattr(transformers, self.auto_class)
        try:
            network, report = self._without_optional_parts(
                partial(auto_class.from_pretrained, self.path, config=self.model.config, **options)
            )
        except SafetensorError as error:
            raise ValueError(
                f"{self.path}: its weights are damaged or incomplete "
                f"({reason(self.path, error)}); fetch them again"
            ) from None
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise ValueError(
                f"{self.path} has no usable weights: {reason(self.path, error)}"
            ) from None
        if wrong := sorted(report["mismatched_keys"]):
            name, saved, expected = wrong[0]
            raise ValueError(
                f"{self.path}: its weights and its config.json differ: {name} is {tuple(saved)} "
                f"and {tuple(expected)}"
            )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(
                f"{self.path} has no weights for {missing[0]} and {len(missing) - 1} others: it "
                "holds another kind of model"
            )
        if spare := sorted(
            name for name in report["unexpected_keys"] if re.search(r"\.\d+\.", name)
        ):
            raise ValueError(
                f"{self.path}: its weights and its config.json differ: no layer has the weight "
                f"{spare[0]}"
            )
        own = self.state_dict()
        weights = {f"model.{name}": weight for name, weight in network.state_dict().items()}
        untrained = {name: weight for name, weight in own.items() if is_of_adapter(name)}
        self.load_state_dict(adapted_names(weights, own) | untrained)
        start_from_base(self)

    def blocks(self) -> list[nn.Module]:
        names = self.model._no_split_modules or ()
        return [module for module in self.model.modules() if type(module).__name__ in names]

    @property
    def network(self) -> nn.Module:
        return self.model

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.model.parameters()).device

    def clamp_ids(self, ids: Tensor) -> Tensor:
        """Return ids clamped to the vocabulary of the network. A padding id may lie beyond it, and
        padding has no influence on the result.
        """
        return ids.clamp(max=self.vocab_size - 1)


def check_weights(folder: Path) -> None:
    """Check that a folder has weights in safetensors. If it is no folder, but a hub id, nothing is
    checked.

    Raises:
        ValueError: the folder has no such weights.
    """
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        others = ", ".join(
            sorted(
                path.name
                for path in folder.iterdir()
                if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5")
            )
        )
        instead = f"but {others}, which may hold code" if others else "and no others"
        raise ValueError(
            f"{folder} has no weights in safetensors, {instead}; save the model once more with "
            "save_pretrained"
        )


def check_recorded_config(config: Settings, path: str) -> None:
    """Check that a configuration recorded by a run names no Python code and has no size out of
    range.

    Raises:
        ValueError: a setting is not allowed; the message names it.
    """
    try:
        check_runs_no_code(config)
        check_sizes(config, Bounds())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if named := next((name for name in REMOTE if name in names_in(config)), None):
        raise ValueError(f"{path}: its config has {named}, which names Python code; leave it out")


def names_in(config: Settings) -> set[str]:
    """Return the names of all settings of a configuration, including nested settings."""
    inner = (names_in(value) for value in config.values() if isinstance(value, Mapping))
    return set(config).union(*inner)


def without_origin(config: "PretrainedConfig") -> JsonObject:
    """Return a configuration of `transformers` as plain data, without the settings that only
    describe where and how it was saved.
    """
    plain = json.loads(config.to_json_string(use_diff=True))
    return {name: value for name, value in plain.items() if name not in ORIGIN}
