"""From a run directory to a model ready for use."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from torch import Size

    from lslm_lightning.text.tokenizer import Tokenizer


SMALLEST_TENSOR = 64  # bytes that a tensor takes in a checkpoint, at least


@dataclass(frozen=True)
class LoadedRun:
    """A run that can be used: `task` has the weights of `checkpoint`, on the CPU, in evaluation
    mode.
    """

    directory: RunDirectory
    config: dict[str, Any]
    tokenizer: "Tokenizer"
    task: "LightningModule"
    checkpoint: Path


def load_run(reference: str | Path, trust: bool = False) -> LoadedRun:
    """The model of a run, by the weights of its best checkpoint.

    Args:
        reference: see `find_run`; a checkpoint file inside a run directory chooses that one.
        trust: use any class that the run names. Without it only our own and torch's.

    Raises:
        ValueError: something is missing, damaged, not trusted, or does not fit together.
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
            f"{directory.tokenizer} is missing: without its tokenizer the run cannot be used"
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


def read_config(path: Path) -> dict[str, Any]:
    """The configuration that a run was made with.

    Raises:
        ValueError: it is not one.
    """
    config = read_yaml(path, loader=ParserLoader)  # as the parser reads what it builds
    reveal(config, RunDirectory(path.parent).secrets)
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        raise ValueError(f"{path} names no model: it must have a `model` with a `class_path`")
    return config


def size_of(checkpoint: Path) -> int:
    """Bytes of a checkpoint, which is a file or a folder."""
    files = checkpoint.rglob("*") if checkpoint.is_dir() else [checkpoint]
    return sum(file.stat().st_size for file in files if file.is_file())


def config_to_build(path: Path) -> dict[str, Any]:
    """The configuration of a run whose model is to be used.

    Raises:
        ValueError: it is none, or the model or its search has a number that no setting can mean.
    """
    config = read_config(path)
    try:
        check_magnitudes({"model": config["model"]})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return config


def without_extra_metrics(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a task without metrics, for which a model that answers has no use."""
    given = spec.get("init_args")
    if not isinstance(given, Mapping):
        return dict(spec)
    kept = {name: value for name, value in given.items() if name != "extra_metrics"}
    return {**spec, "init_args": kept}


def build(spec: Mapping[str, Any], tokenizer: "Tokenizer") -> "LightningModule":
    """The task that `spec` (class_path, init_args) describes, as LightningCLI built it, with fresh
    weights.

    Raises:
        ValueError: it does not fit the class, or names what may not be imported (`only_trusted`).
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
    """Put the weights of a checkpoint into `task`.

    Raises:
        ValueError: it is not a checkpoint, lacks files beside it, holds more than data, or is of
            another model or vocabulary.
    """
    try:
        saved = read_state(path)
        weights = saved["state_dict"]
        check_tensors(weights)
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of plain weights: {one_line(error)[:200]}"
        ) from None
    own = task.state_dict()
    wrong = {
        name: (weights[name].shape, own[name].shape)
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    }
    if wrong:
        raise ValueError(f"{path} does not fit config.yaml: {explain(wrong, tokenizer.vocab_size)}")
    if different := sorted(own.keys() ^ weights.keys()):
        owner = "the model" if different[0] in own else "the checkpoint"
        raise ValueError(
            f"{path} does not fit config.yaml: only {owner} has {different[0]}; the code or the "
            "config has changed since"
        )
    if saved.get("tokenizer_digest", tokenizer.digest) != tokenizer.digest:
        raise ValueError(
            f"{path} was not trained with this tokenizer.json: same size, other entries; put the "
            "run's own back"
        )
    task.load_state_dict(weights)
    try:
        task.model_info.load_files(saved, path.parent)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not fit config.yaml: {type(error).__name__}: {one_line(error)}"
        ) from None


def check_tensors(weights: Any) -> None:
    """Refuse what is no mapping of names to tensors.

    Raises:
        ValueError: naming the first other entry.
    """
    from torch import Tensor, strided

    if not isinstance(weights, Mapping):
        raise ValueError(f"its state_dict is a {type(weights).__name__}")
    for name, value in weights.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ValueError(
                f"{name!r} of its state_dict is a {type(value).__name__}, not a tensor"
            )
        if value.layout != strided or value.is_meta or value.is_quantized:
            raise ValueError(
                f"{name!r} of its state_dict is no plain tensor: it is sparse, quantized or "
                "without numbers"
            )


def explain(wrong: "dict[str, tuple[Size, Size]]", vocab_size: int) -> str:
    """Which weight has another shape in the checkpoint than in the model, and whether the
    vocabulary is the reason.
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
    """The words of an error without line breaks."""
    return " ".join(str(error).split())
