"""Loading of the trained model of a run directory."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.finding import FoundRun, find_run
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import (
    check_trust,
    is_restricted,
    only_trusted,
    refuse_denied,
    resolve,
)
from lslm_lightning.runs.weights import load_weights, one_line
from lslm_lightning.safety.parameters import bounded_parameters, bounds_for, without_memory
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from lslm_lightning.text.tokenizer import Tokenizer


SMALLEST_TENSOR = 64  # bytes that a tensor takes in a checkpoint, at least


@dataclass(frozen=True)
class LoadedRun:
    """Run whose `task` has the weights of `checkpoint`, on the CPU and in evaluation mode."""

    directory: RunDirectory
    config: JsonObject
    tokenizer: "Tokenizer"
    task: "LightningModule"
    checkpoint: Path


def load_run(reference: str | Path | FoundRun, trust: bool = False) -> LoadedRun:
    """Load the model of a run with the weights of its best checkpoint.

    Args:
        reference: a run that was found, or a reference as in `find_run`; one that names a
            checkpoint selects this checkpoint.
        trust: allow any class that the run names, not only classes of this package and of torch.

    Raises:
        ValueError: something is missing, damaged or not trusted, or parts of the run do not fit
            together.
    """
    return run_with_weights(reference, trust, have_values=True)


def run_with_weights(reference: str | Path | FoundRun, trust: bool, have_values: bool) -> LoadedRun:
    """Load the model of a run; see `load_run`.

    Args:
        have_values: False for a model on the meta device, which takes no memory, after checking
            that the weights fit.
    """
    found = reference if isinstance(reference, FoundRun) else find_run(reference)
    directory = found.directory
    config = found.config
    model = without_extra_metrics(config["model"])
    if trust:
        add_working_directory(model)
    else:
        check_trust(model)
    checkpoint = found.checkpoint
    if not directory.tokenizer.is_file():
        raise ValueError(
            f"{directory.tokenizer} is missing: the model of a run cannot be used without its "
            "tokenizer; restore the file"
        )

    from lslm_lightning.text.tokenizer_files import load_tokenizer

    tokenizer = load_tokenizer(directory.tokenizer)
    n_byte = size_of(checkpoint)
    bounded = bounded_parameters(
        bounds_for(n_byte, n_byte // SMALLEST_TENSOR),
        f"config.yaml does not fit {checkpoint}, which has {n_byte:,} bytes",
    )
    memory = nullcontext() if have_values else without_memory()
    with nullcontext() if trust else only_trusted(), bounded, memory:
        task = build(model, tokenizer)
    load_weights(task, checkpoint, tokenizer, have_values)
    return LoadedRun(directory, config, tokenizer, task.eval(), checkpoint)


def size_of(checkpoint: Path) -> int:
    """Return the size in bytes of a checkpoint, which is a file or a folder."""
    files = checkpoint.rglob("*") if checkpoint.is_dir() else [checkpoint]
    return sum(file.stat().st_size for file in files if file.is_file())


def without_extra_metrics(spec: Settings) -> JsonObject:
    """Return a copy of the specification of a task without `extra_metrics`, which inference does
    not need.
    """
    given = spec.get("init_args")
    if not isinstance(given, Mapping):
        return dict(spec)
    kept = {name: value for name, value in given.items() if name != "extra_metrics"}
    return {**spec, "init_args": kept}


def build(spec: Settings, tokenizer: "Tokenizer") -> "LightningModule":
    """Build a task from its specification, as LightningCLI does, with newly initialized weights.

    Args:
        spec: class_path and init_args of the task.

    Raises:
        ValueError: `spec` does not fit the class, or names a class that may not be imported
            (`only_trusted`).
    """
    from lslm_lightning.runs.parser import ArgumentError, ArgumentParser

    task_class = resolve(spec["class_path"])
    given = spec.get("init_args") or {}
    if not isinstance(given, Mapping):
        raise ValueError(
            f"config.yaml: init_args of {spec['class_path']} must be a mapping, but is {given!r}"
        )
    arguments = {name: value for name, value in given.items() if name != "tokenizer"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(
        task_class, "task", skip={"tokenizer"}, instantiate=False, fail_untyped=False
    )
    try:
        parsed = parser.parse_object({"task": arguments})
        if is_restricted():
            check_trust(parsed)
        built = parser.instantiate(parsed)
    except ArgumentError as error:
        refuse_denied(str(error))
        raise ValueError(
            f"config.yaml does not fit {spec['class_path']}: {one_line(error)}"
        ) from None
    return task_class(**vars(built.task), tokenizer=tokenizer)
