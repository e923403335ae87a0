"""Loading of the trained model of a run directory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.renamed import renamed_weights
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.finding import find_run
from lslm_lightning.runs.hidden_settings import reveal
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.states import META, read_state
from lslm_lightning.runs.trust import (
    check_trust,
    is_restricted,
    only_trusted,
    refuse_denied,
    resolve,
)
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.safety.parameters import bounded_parameters, bounds_for
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml
from lslm_lightning.types import JsonObject, Settings, StateDict

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from torch import Size, Tensor, nn

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


def load_run(reference: str | Path, trust: bool = False) -> LoadedRun:
    """Load the model of a run with the weights of its best checkpoint.

    Args:
        reference: a run directory, or an MLflow run id; a checkpoint inside a run directory selects
            this checkpoint. See `find_run`.
        trust: allow any class that the run names, not only classes of this package and of torch.

    Raises:
        ValueError: something is missing, damaged or not trusted, or parts of the run do not fit
            together.
    """
    reference = Path(reference).expanduser()
    directory = find_run(reference)
    config = config_to_build(directory.config)
    model = without_extra_metrics(config["model"])
    if trust:
        add_working_directory(model)
    else:
        check_trust(model)
    checkpoint = (
        reference.absolute()
        if reference.is_file() or (reference / META).exists()
        else directory.checkpoint()
    )
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
    with nullcontext() if trust else only_trusted(), bounded:
        task = build(model, tokenizer)
    load_weights(task, checkpoint, tokenizer)
    return LoadedRun(directory, config, tokenizer, task.eval(), checkpoint)


def read_config(path: Path) -> JsonObject:
    """Return the configuration of a run, with hidden settings filled in.

    Args:
        path: file config.yaml of the run.

    Raises:
        ValueError: the file is not the configuration of a run.
    """
    config = read_yaml(path, loader=ParserLoader)  # as jsonargparse reads it
    reveal(config, RunDirectory(path.parent).secrets)
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        raise ValueError(f"{path} names no model: it needs a `model` with a `class_path`")
    return config


def size_of(checkpoint: Path) -> int:
    """Return the size in bytes of a checkpoint, which is a file or a folder."""
    files = checkpoint.rglob("*") if checkpoint.is_dir() else [checkpoint]
    return sum(file.stat().st_size for file in files if file.is_file())


def config_to_build(path: Path) -> JsonObject:
    """Return the configuration of a run, after checking that its model can be built.

    Args:
        path: file config.yaml of the run.

    Raises:
        ValueError: the file is not the configuration of a run, or a number of the model or its
            search is out of any sensible range.
    """
    config = read_config(path)
    try:
        check_magnitudes({"model": config["model"]})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return config


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


def load_weights(task: "LightningModule", path: Path, tokenizer: "Tokenizer") -> None:
    """Load the weights of a checkpoint into `task`.

    Args:
        tokenizer: tokenizer of the run, which must be the one of the checkpoint.

    Raises:
        ValueError: the file is not a checkpoint, files beside it are missing, it contains more than
            data, or it belongs to another model or vocabulary.
    """
    saved = read_checkpoint(path)
    task.load_state_dict(fitting_weights(task, saved, path, tokenizer))
    load_files(task, saved, path)


def read_checkpoint(path: Path) -> StateDict:
    """Return the contents of a checkpoint on the CPU; see `read_state`.

    Raises:
        ValueError: the file is not a checkpoint, or contains more than data.
    """
    with plain_weights(path):
        saved = read_state(path)
        check_tensors(saved["state_dict"])
    return saved


@contextmanager
def plain_weights(path: Path) -> Iterator[None]:
    """Convert any error of reading a checkpoint inside the context to a ValueError that names its
    path.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of plain weights: {one_line(error)[:200]}"
        ) from None


def fitting_weights(
    task: "nn.Module", saved: StateDict, path: Path, tokenizer: "Tokenizer"
) -> "dict[str, Tensor]":
    """Return the weights of a checkpoint under their current names, after checking that `task` has
    the same ones.

    Args:
        saved: contents of the checkpoint.
        path: path of the checkpoint, for messages.
        tokenizer: tokenizer of the run, which must be the one of the checkpoint.

    Raises:
        ValueError: the checkpoint belongs to another model or vocabulary.
    """
    weights = renamed_weights(saved["state_dict"])
    built = task.state_dict()
    wrong = {
        name: (weights[name].shape, built[name].shape)
        for name in built
        if name in weights and weights[name].shape != built[name].shape
    }
    if wrong:
        raise ValueError(f"{path} does not fit config.yaml: {explain(wrong, tokenizer.vocab_size)}")
    if different := sorted(built.keys() ^ weights.keys()):
        owner = "the model" if different[0] in built else "the checkpoint"
        raise ValueError(
            f"{path} does not fit config.yaml: only {owner} has {different[0]}; the code or the "
            "config has changed since; use the code that trained the run"
        )
    if saved.get("tokenizer_digest", tokenizer.digest) != tokenizer.digest:
        raise ValueError(
            f"{path} was trained with another tokenizer.json, of the same size: restore "
            "the run's own"
        )
    return weights


def load_files(task: "LightningModule", saved: StateDict, path: Path) -> None:
    """Load the part of the model that is stored in files beside the checkpoint.

    Args:
        saved: contents of the checkpoint.
        path: path of the checkpoint.

    Raises:
        ValueError: a file is missing or damaged, or the checkpoint belongs to another model.
    """
    try:
        task.model_info.load_files(saved, path.parent)  # type: ignore[union-attr, operator]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not fit config.yaml: {type(error).__name__}: {one_line(error)}"
        ) from None


def check_tensors(weights: object, have_values: bool = True) -> None:
    """Raise ValueError unless `weights` maps names to ordinary dense tensors.

    Args:
        have_values: False for tensors that were read without their values.
    """
    from torch import Tensor, strided

    if not isinstance(weights, Mapping):
        raise ValueError(f"its state_dict is a {type(weights).__name__}")
    for name, value in weights.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ValueError(
                f"{name!r} of its state_dict is a {type(value).__name__}, not a tensor"
            )
        if value.layout != strided or (have_values and value.is_meta) or value.is_quantized:
            raise ValueError(
                f"{name!r} of its state_dict is not a dense tensor: it is sparse, quantized or "
                "without values"
            )


def explain(wrong: "dict[str, tuple[Size, Size]]", vocab_size: int) -> str:
    """Return a message about a weight whose shape differs between checkpoint and model.

    It states whether the size of the vocabulary is the reason.

    Args:
        wrong: shapes in the checkpoint and in the model, by name of the weight.
        vocab_size: size of the vocabulary of the run's tokenizer.
    """
    name, (saved, own) = next(iter(wrong.items()))
    text = f"{name} is {tuple(saved)} in the checkpoint and {tuple(own)} in the model"
    if all(
        here == vocab_size
        for saved, own in wrong.values()
        for there, here in zip(saved, own)
        if there != here
    ):
        text += (
            f"; tokenizer.json has {vocab_size} entries, so it is not the one that this "
            "model was trained with"
        )
    return text


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())
