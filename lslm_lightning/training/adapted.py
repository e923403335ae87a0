"""Weights that training starts from, and the parameters trained beside the base of an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from lslm_lightning.adapters.low_rank import (
    BASE,
    Adapter,
    adapted_names,
    add_adapter,
    is_of_adapter,
    merged,
    start_from_base,
)
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.runs.finding import find_run
from lslm_lightning.runs.loading import run_with_weights, without_extra_metrics
from lslm_lightning.runs.own_runs import is_own_run
from lslm_lightning.runs.states import read_state
from lslm_lightning.runs.trust import UntrustedClassError, check_trust, only_trusted
from lslm_lightning.runs.weights import fitting_weights
from lslm_lightning.training.peft_layout import read_adapter, write_adapter
from lslm_lightning.types import StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

TRAINING_ALONE = ("training", "p", "inplace", "dropout", "activation_checkpointing", "path")
"""Attributes of modules that change nothing in what a trained model computes."""

IN_NETWORK = {"embedding": "get_input_embeddings", "head": "get_output_embeddings"}


def adapt(backbone: Backbone, adapter: Adapter) -> None:
    """Add an adapter to a backbone, whose other parameters are frozen.

    Raises:
        MissingPackageError: `peft` is not installed.
        ValueError: the base is not clear, or the adapter does not fit the network.
    """
    name = type(backbone).__name__
    if backbone.path is None and adapter.base is None:
        raise ValueError(
            f"model.adapter: {name} has no pretrained weights to adapt; set model.adapter.base to "
            "a run that has trained it"
        )
    if backbone.path is not None and adapter.base is not None:
        raise ValueError(
            f"model.adapter.base={adapter.base} and the pretrained weights of {backbone.path} "
            "cannot both be adapted: leave out model.adapter.base"
        )
    add_adapter(backbone, adapter)


def freeze_base(task: Task) -> None:
    """Make only those parameters of a task trainable that are trained beside its frozen base.

    Without an adapter, nothing is changed.

    Raises:
        ValueError: `also_train` names a part that the model does not have.
    """
    if task.adapter is not None:
        trained = set(map(id, trained_parameters(task)))
        for parameter in task.parameters():
            parameter.requires_grad_(id(parameter) in trained)


def trained_parameters(task: Task) -> Iterator[nn.Parameter]:
    """Yield the parameters of a task that are trained, each at least once: all of them, or those of
    the adapter, of the parts that `also_train` names, and of parts without pretrained weights.

    Raises:
        ValueError: `also_train` names a part that the model does not have.
    """
    adapter = task.adapter
    backbone = task.backbone
    if adapter is None or backbone is None:
        yield from task.parameters()
        return
    yield from (p for name, p in backbone.named_parameters() if is_of_adapter(name))
    if backbone.path is not None:
        inside = set(map(id, backbone.parameters()))
        yield from (p for p in task.parameters() if id(p) not in inside)
    for name in adapter.also_train:
        yield from part_of(task, backbone, name).parameters()


def part_of(task: Task, backbone: Backbone, name: str) -> nn.Module:
    """Return the part of a task that has a name: a module beside the backbone, or the embedding or
    head inside of a pretrained network.

    Raises:
        ValueError: there is no such part with parameters.
    """
    found = {**dict(task.named_children()), **pretrained_ends(backbone)}
    parts = {
        name: module
        for name, module in found.items()
        if module is not backbone and list(module.parameters())
    }
    if name not in parts:
        raise ValueError(
            f"model.adapter.also_train: the model has no part {name!r} with weights of its own; "
            f"choose from {', '.join(sorted(parts)) or 'none'}"
        )
    return parts[name]


def pretrained_ends(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the embedding and the head inside of a pretrained network, as far as it has them."""
    ends = {
        name: getattr(backbone.network, method, lambda: None)()
        for name, method in IN_NETWORK.items()
    }
    return {name: module for name, module in ends.items() if module is not None}


# The base of a network of our own


def check_start(task: Task) -> None:
    """Check that the weights which training starts from exist and fit the task, as far as they are
    given: those of the run `job.start` or `model.adapter.base`, and of the adapter
    `model.adapter.start`.

    Raises:
        ValueError: there is no such run, it names classes that are not trusted, or its weights or
            its tokenizer do not fit.
    """
    started_weights(task)
    if start := start_of(task):
        weights_of(task, start, have_values=False)


def load_start(task: Task) -> None:
    """Load the weights that training starts from: pretrained ones; or those of the run `job.start`
    or `model.adapter.base`, with its own adapter merged into them; and those of the adapter
    `model.adapter.start`.

    Raises:
        ValueError: there is no such run or adapter, or its weights or its tokenizer do not fit.
    """
    if task.backbone is not None:
        task.backbone.load_pretrained_weights()
    if start := start_of(task):
        load_weights_of(task, start)
    if weights := started_weights(task):
        assert task.backbone is not None
        task.backbone.network.load_state_dict(weights, strict=False)


def pinned_start(start: str, checkpoint: str | None) -> str:
    """Return the absolute path of the run that `job.start` names now: a pattern or an alias may
    name another later.

    Args:
        checkpoint: checkpoint that training goes on from; None for a training from its start.

    Raises:
        ValueError: there is no such run, or there is a checkpoint.
    """
    if checkpoint is not None:
        raise ValueError(
            f"job.start={start} and ckpt_path={checkpoint} cannot both be given: a checkpoint has "
            "its own weights; leave one of them out"
        )
    try:
        return str(find_run(start).path.resolve())
    except ValueError as error:
        raise ValueError(f"{Start('job.start', start)} cannot be started from: {error}") from None


class Start(NamedTuple):
    """Run whose weights training starts from, and the setting that names it."""

    setting: str
    run: str

    def __str__(self) -> str:
        return f"{self.setting}={self.run}"


def start_of(task: Task) -> Start | None:
    """Return the run whose weights training starts from; None if there is none.

    Raises:
        ValueError: a run is given for the whole model, which has an adapter or no weights.
    """
    base = None if task.adapter is None else task.adapter.base
    if task.start is None:
        return None if base is None else Start("model.adapter.base", base)
    start = Start("job.start", task.start)
    if task.adapter is not None:
        raise ValueError(
            f"{start} and model.adapter cannot both be given: name the run as model.adapter.base"
        )
    if not any(parameter.requires_grad for parameter in task.parameters()):
        raise ValueError(
            f"{start}: {type(task).__name__} has no weights to start from; leave it out"
        )
    return start


def started_weights(task: Task) -> dict[str, Tensor]:
    """Return the weights of the adapter `model.adapter.start` by their names in the network; none
    if it is not given.

    Raises:
        ValueError: there is no such adapter, or it has other settings or layers.
    """
    if task.adapter is None or task.adapter.start is None or task.backbone is None:
        return {}
    return read_adapter(task.backbone.network, Path(task.adapter.start))


def load_weights_of(task: Task, start: Start) -> None:
    """Load the weights of a run, with its own adapter merged into them.

    Raises:
        ValueError: there is no such run, or its weights or its tokenizer do not fit.
    """
    task.load_state_dict(weights_of(task, start))
    if task.adapter is not None:
        start_from_base(task)


def weights_of(task: Task, start: Start, have_values: bool = True) -> StateDict:
    """Return the weights of a run, with its own adapter merged into them, under the names of a
    task.

    Args:
        have_values: False to read no values, and to check only that the weights fit.

    Raises:
        ValueError: there is no such run, or its weights, settings or tokenizer do not fit.
    """
    try:
        found = find_run(start.run)
        own_run = is_own_run(found.directory.config)
        allowed = nullcontext() if own_run else only_trusted(module_classes(task))
        with torch.random.fork_rng([]), allowed:
            if not own_run:
                check_trust(without_extra_metrics(found.config["model"]))
            run = run_with_weights(found, True, have_values)  # as far as this context allows
        if run.tokenizer.digest != task.tokenizer.digest:
            raise ValueError(
                f"{found.path} was trained with another tokenizer; set data.tokenizer to "
                f"lslm_lightning.text.recipes.TokenizerFile with path={found.directory.tokenizer}"
            )
        network = run.task if getattr(run.task, "adapter", None) is None else merged(run.task)
        own = task.state_dict()
        weights = adapted_names(network.state_dict(), own)
        weights |= {name: weight for name, weight in own.items() if is_of_adapter(name)}
        fitting = fitting_weights(task, {"state_dict": weights}, run.checkpoint, task.tokenizer)
        check_alike(task, network)
    except UntrustedClassError as error:
        raise ValueError(
            f"{start} names {error.shown}, whose code is not run for weights to start from; name a "
            "run whose classes are those of this model, of lslm_lightning and of torch"
        ) from None
    except ValueError as error:
        raise ValueError(f"{start} cannot be started from: {error}") from None
    return fitting


def check_alike(task: Task, other: nn.Module) -> None:
    """Check that the modules of two models compute alike, so that weights mean the same in both.

    Adapters, and settings of training alone, may differ.

    Raises:
        ValueError: a setting of a module differs.
    """
    theirs = dict(other.named_modules())
    for name, module in task.named_modules():
        plain = name.replace(f".{BASE}", "")
        if not name or plain not in theirs or is_of_adapter(name):
            continue
        kind = type(theirs[plain])
        if not isinstance(module, kind) and not hasattr(module, BASE):
            raise ValueError(
                f"its {plain} is {kind.__name__}, and that of this model {type(module).__name__}; "
                "give both the same settings"
            )
        for key, value in vars(module).items():
            known = vars(theirs[plain])
            if key in TRAINING_ALONE or not isinstance(value, bool | int | float | str | tuple):
                continue
            if not key.startswith("_") and key in known and known[key] != value:
                raise ValueError(
                    f"its {plain}.{key} is {known[key]}, and that of this model {value}; give both "
                    "the same settings"
                )


def module_classes(task: Task) -> set[str]:
    """Return the import paths of the classes of the modules of a task, which its own config names,
    so that its user trusts them.
    """
    kinds = {type(module) for module in task.modules()}
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}


# The adapter in the layout of peft


def save_adapter(task: Task, folder: Path, checkpoint: Path | None = None) -> None:
    """Write the adapter of a task in the layout of `peft`: `adapter_config.json` and
    `adapter_model.safetensors`.

    `peft.PeftModel.from_pretrained(base, folder)` adds it to its base.

    Args:
        checkpoint: checkpoint whose weights are written; None for the task's own weights.

    Raises:
        ValueError: the task has no adapter.
    """
    adapter = task.adapter
    backbone = task.backbone
    if adapter is None or backbone is None:
        raise ValueError(f"this {type(task).__name__} has no adapter to save: set model.adapter")
    weights = task.state_dict() if checkpoint is None else read_state(checkpoint)["state_dict"]
    trained = set(map(id, trained_parameters(task)))
    whole = [  # tied weights belong to several
        name
        for name, module in backbone.network.named_modules()
        if not is_of_adapter(name)
        and any(id(p) in trained for p in module.parameters(recurse=False))
    ]
    prefix = next(name for name, module in task.named_modules() if module is backbone.network)
    inside = {
        name.removeprefix(f"{prefix}."): weight
        for name, weight in weights.items()
        if name.startswith(f"{prefix}.")
    }
    kind = (bool(backbone.n_encoder_layer), bool(backbone.n_decoder_layer))
    write_adapter(backbone.network, inside, whole, kind, backbone.path or adapter.base, folder)
