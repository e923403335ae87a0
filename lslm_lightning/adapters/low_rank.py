"""Low-rank adapters, made by the package `peft`."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from lslm_lightning.adapters.targets import is_transposed, target_modules
from lslm_lightning.extras import MissingPackageError
from lslm_lightning.models.backbone import Backbone

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.lora import Linear

NAME = "default"  # of the only adapter of a network, as peft calls it
PREFIX = "lora_"  # of the names of an adapter's parts
BASE = "base_layer"  # name that a layer has inside of its adapter

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Adapter(ABC):
    """Base class of adapters: small trained parts beside the frozen layers of a network."""

    @property
    @abstractmethod
    def also_train(self) -> Sequence[str]:
        """Names of the parts of the model that are trained beside the adapter."""

    @property
    @abstractmethod
    def base(self) -> str | None:
        """Run or checkpoint whose weights are adapted; None for a pretrained network."""

    @property
    @abstractmethod
    def start(self) -> str | None:
        """Folder with an adapter in the layout of `peft` to start from; None for a new one."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Settings that must not change when training resumes, by name."""

    @abstractmethod
    def peft_config(self, network: nn.Module) -> "LoraConfig":
        """Return the settings for `peft` of this adapter of a network.

        Raises:
            MissingPackageError: `peft` is not installed.
            ValueError: the adapter does not fit the network.
        """


@dataclass(frozen=True)
class LoRA(Adapter):
    """Low-rank adapter of a frozen network: the weight W of each target layer becomes W + alpha /
    rank * B A, and only A and B are trained.

    A has `rank` rows, B has `rank` columns and starts at 0. Source: Hu et al. 2022, "LoRA: low-rank
    adaptation of large language models", section 4.1.

    Args:
        rank: number of rows of A and of columns of B.
        alpha: scale of B A, which is multiplied by alpha / rank.
        dropout: share of the inputs of A that are set to zero in training.
        targets: linear layers that get an adapter, in our own words for any network: query, key,
            value, output (or attention.output, feed_forward.output), inner, gate, all; or names of
            modules of the network.
        also_train: parts of the model that are trained beside the adapter, such as embedding and
            head. New parts, which have no pretrained weights, are always trained.
        base: run or checkpoint whose weights are adapted; only for a network that has no pretrained
            weights of its own.
        start: folder with adapter_config.json and adapter_model.safetensors, as `peft` saves an
            adapter, to start from; null for a new adapter.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: Sequence[str] = ("query", "value")
    also_train: Sequence[str] = ()
    base: str | None = None
    start: str | None = None

    use_dora: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"model.adapter.rank={self.rank} must be at least 1; 8 is usual")
        if self.alpha < 1:
            raise ValueError(
                f"model.adapter.alpha={self.alpha} must be at least 1; twice the rank is usual"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.adapter.dropout={self.dropout} must be at least 0 and below 1")
        if isinstance(self.targets, str) or not self.targets:
            raise ValueError(
                f"model.adapter.targets={self.targets!r} must be a list of at least one linear "
                "layer, such as [query, value]"
            )
        if isinstance(self.also_train, str):
            raise ValueError(
                f"model.adapter.also_train={self.also_train!r} must be a list of parts of the "
                "model, such as [embedding, head]"
            )

    @property
    def identity(self) -> dict[str, str]:
        settings = {
            "adapter": type(self).__name__,
            "rank": self.rank,
            "alpha": self.alpha,
            "dropout": float(self.dropout),
            "targets": sorted(self.targets),
            "also_train": sorted(self.also_train),
        }
        return {f"model.adapter.{name}": str(value) for name, value in settings.items()}

    def peft_config(self, network: nn.Module) -> "LoraConfig":
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise MissingPackageError("peft", "model.adapter") from error

        names = target_modules(network, self.targets)
        for name in names:
            smallest = min(network.get_parameter(f"{name}.weight").shape)
            if self.rank > smallest:
                raise ValueError(
                    f"model.adapter.rank={self.rank} must be at most {smallest}, the smaller side "
                    f"of the weight of {name}"
                )
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=names,
            use_dora=self.use_dora,
            fan_in_fan_out=any(is_transposed(network.get_submodule(name)) for name in names),
        )


@dataclass(frozen=True)
class DoRA(LoRA):
    """Low-rank adapter that trains the length of each row of W + alpha / rank * B A, too, apart
    from its direction.

    Arguments are those of `LoRA`. Source: Liu et al. 2024, "DoRA: weight-decomposed low-rank
    adaptation", section 4.1.
    """

    use_dora: ClassVar[bool] = True


def add_adapter(backbone: Backbone, adapter: Adapter) -> None:
    """Add an adapter to the network of a backbone, and freeze all other parameters of the backbone.

    Raises:
        MissingPackageError: `peft` is not installed.
        ValueError: a target is not a layer of the network, or the rank is too large for one.
    """
    config = adapter.peft_config(backbone.network)
    from peft import inject_adapter_in_model

    with warnings.catch_warnings():
        # peft tells that it turns fan_in_fan_out off for layers that are not transposed
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        inject_adapter_in_model(config, backbone.network, NAME)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(is_of_adapter(name))


def is_of_adapter(name: str) -> bool:
    """Return whether a parameter with this name is part of an adapter."""
    return any(part.startswith(PREFIX) for part in name.split("."))


def adapted_names(weights: Mapping[str, Tensor], own: Mapping[str, object]) -> dict[str, Tensor]:
    """Return the weights of a network without adapter under the names that they have in a network
    with one.

    Args:
        weights: weights by name.
        own: weights of the network with adapter, by name; may have none.
    """

    def renamed(name: str) -> str:
        layer, _, last = name.rpartition(".")
        inside = f"{layer}.{BASE}.{last}"
        return inside if inside in own else name

    return {renamed(name): weight for name, weight in weights.items()}


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, "Linear"]]:
    """Yield the layers of a model that have an adapter, with their names."""
    for name, module in model.named_modules():
        if hasattr(module, BASE):
            yield name, cast("Linear", module)  # none but those of peft have it


@torch.no_grad()
def start_from_base(model: nn.Module) -> None:
    """Set what an untrained adapter takes from the weights of its base, after these were loaded:
    the lengths of rows that DoRA starts with.
    """
    for _, layer in adapted_layers(model):
        if NAME not in layer.lora_magnitude_vector:
            continue
        from peft.tuners.lora.dora import DoraLinearLayer

        vector = layer.lora_magnitude_vector[NAME]
        assert isinstance(vector, DoraLinearLayer), "only linear layers have adapters"
        down, up, base = (
            layer.get_parameter(f"{part}.weight")
            for part in (f"lora_A.{NAME}", f"lora_B.{NAME}", BASE)
        )
        vector.weight.copy_(vector.get_weight_norm(base, up @ down, layer.scaling[NAME]))


def merged(model: ModuleT) -> ModuleT:
    """Return a copy of a model whose adapter is added to its weights, so that it has plain layers
    and weights of the names of its base. All of its parameters can be trained.

    The model itself is left unchanged. Without an adapter, the result is a plain copy.
    """
    whole = deepcopy(model)
    for name, layer in list(adapted_layers(whole)):
        layer.merge(safe_merge=not next(layer.parameters()).is_meta)  # which has no values to check
        parent, _, last = name.rpartition(".")
        setattr(whole.get_submodule(parent), last, layer.get_base_layer())
    for module in whole.modules():
        vars(module).pop("peft_config", None)
    if getattr(whole, "adapter", None) is not None:
        whole.adapter = None  # type: ignore[assignment]
    return whole.requires_grad_()
