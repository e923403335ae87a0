"""Import of a model of `transformers` as a run of this project."""

import hashlib
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lslm_lightning.interchange.exporting import check_output, new_folder
from lslm_lightning.interchange.foreign_model import (
    TASKS,
    ForeignModel,
    languages_of,
    read_foreign,
)
from lslm_lightning.interchange.hugging_face import (
    check_installed,
    imported_model,
    imported_network,
)
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.prompts import prompt_spec
from lslm_lightning.interchange.search_settings import left_behind, task_search
from lslm_lightning.interchange.span_verification import (
    BUILT_IN_QUESTIONS,
    compare_spans,
    reader_of,
)
from lslm_lightning.interchange.verification import (
    BUILT_IN,
    AnyTask,
    Verification,
    compare,
    copy_to_compare,
)
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.loading import build
from lslm_lightning.safety.parameters import bounded_parameters, bounds_for, without_memory
from lslm_lightning.text.hugging_face import read_tokenizer
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import SpanModel
from lslm_lightning.types import JsonObject, Settings

WINDOW = 384  # tokens of question and passage that a model reads at once, if it has so many


@dataclass(frozen=True)
class Import:
    """Imported model.

    Args:
        directory: directory of the run.
        layout: name of the layout of the model.
        task: name of its task.
        n_parameter: number of weights.
        notes: remarks on what differs from the model.
        verification: comparison of the run with the model.
    """

    directory: RunDirectory
    layout: str
    task: str
    n_parameter: int
    notes: tuple[str, ...]
    verification: Verification


def import_model(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    task: str | None = None,
    prefix: str | None = None,
) -> Import:
    """Make a run of a model of `transformers`, as `lslm import` does.

    The run has our Transformer, search and tokenizer, and `load_run`, `generate` and `evaluate`
    take it. It appears only after its logits and greedy answers were compared with those of
    `transformers`. Code from the repository of a model is never run.

    Args:
        path: a folder saved with `save_pretrained`, tokenizer included, or a hub id.
        output: run directory to write; it must not exist, or be empty.
        task: language_modeling, translation, summarization or question_answering; by default told
            from the layout.
        prefix: text before each input, such as "summarize: " for T5, or ">>zho<< " for a
            multilingual Marian model; by default the one that the files of the model state.

    Raises:
        ValueError: the model is of another layout, has parts that our models lack, its files are
            missing or damaged, or the run computes something else.
    """
    check_installed()
    source, folder = os.fspath(path), Path(output)
    check_output(folder)
    with naming(source):
        foreign = read_foreign(source, task, prefix)
        layout, model = foreign.layout, foreign.model
        spec = {"class_path": TASKS[foreign.task], "init_args": task_arguments(foreign)}
        built = built_task(foreign, spec)
        verification = compared(foreign, built)
    if foreign.files[0].suffix == ".bin":
        model.tell(f"tensors alone were read from {foreign.files[0].name}, and no other pickle")
    for setting in left_behind(foreign.generation, blocks_padding=model.blocks_padding):
        model.tell(f"{setting} was left behind")
    n_parameter = sum(weight.numel() for weight in built.parameters())
    record = {**origin(foreign, verification), "parameters": {"n_parameter": n_parameter}}
    foreign.forget_weights()
    in_float32(built)
    with new_folder(folder) as draft:
        write_run(
            draft,
            command_of(source, folder, task, prefix),
            {"model": spec},
            model.tokenizer,
            built.state_dict(),
            record,
        )
    notes = tuple(model.notes)
    directory = RunDirectory(folder)
    return Import(directory, layout.model_type, foreign.task, n_parameter, notes, verification)


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Convert any error of reading or computing a model inside the context, whose files may hold
    anything, to a ValueError that names it. Errors of the disk, and missing packages, stay.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if isinstance(error, ValueError):
            if reason.startswith(f"{source} "):  # it says already what is wrong with which model
                raise
            reason = reason.removeprefix(f"{source}: ")
        else:
            reason = f"{type(error).__name__}: {reason}"
        raise ValueError(f"{source} cannot be imported: {reason}") from error


def command_of(source: str, folder: Path, task: str | None, prefix: str | None) -> str:
    """Return the command line of an import, as a shell reads it.

    Args:
        task: value of the option; None if it was not given.
        prefix: value of the option; None if it was not given.
    """
    chosen = [] if task is None else ["--task", task]
    chosen += [] if prefix is None else [f"--prefix={prefix}"]
    return shlex.join(["lslm", "import", source, "--output", str(folder), *chosen])


def built_task(foreign: ForeignModel, spec: Settings) -> AnyTask | SpanModel:
    """Return the task that a model becomes, with its weights, of which no copies are made.

    Args:
        spec: class_path and init_args of the task.

    Raises:
        ValueError: the weights do not fit config.json.
    """
    n_byte = sum(file.stat().st_size for file in foreign.files)
    name = f"{foreign.source}: its config.json does not fit its weights"
    with bounded_parameters(bounds_for(n_byte, len(foreign.weights)), name), without_memory():
        built = build(spec, foreign.model.tokenizer)
    assert isinstance(built, CausalTask | SequenceToSequenceTask | SpanModel)
    check_shapes(foreign, built.state_dict())
    built.load_state_dict(foreign.model.weights, assign=True)
    return built.eval()


def in_float32(task: nn.Module) -> None:
    """Convert the weights of a task one by one, each in memory of its own."""
    for weight in task.parameters():
        weight.data = weight.data.to(
            torch.float32, copy=True, memory_format=torch.contiguous_format
        )


def task_arguments(foreign: ForeignModel) -> JsonObject:
    """Return the arguments of the task that a model becomes."""
    parts = foreign.model.parts
    if parts.kind == "span-extraction":
        return {**parts.model_spec(), **window_sizes(parts), "whole_words": False}
    is_pair = parts.kind == "sequence-to-sequence"
    positions = parts.max_positions or parts.context
    return {
        **parts.model_spec(),
        **task_search(foreign.generation, is_pair, positions),
        **({"max_source_length": positions} if is_pair else {}),
        **prompt_spec(foreign.model.prompt),
    }


def window_sizes(parts: ModelParts) -> JsonObject:
    """Return the arguments of a task for the windows in which it reads passages: the usual ones
    where the model has as many positions.
    """
    longest = min(WINDOW, parts.max_positions or WINDOW)
    return {
        "max_length": longest,
        "stride": longest // 3,
        "max_question_length": longest // 6,
    }


def compared(foreign: ForeignModel, built: AnyTask | SpanModel) -> Verification:
    """Compare a task with the model of `transformers` that it was made from.

    Raises:
        ValueError: they differ.
    """
    tokenizer = read_tokenizer(foreign.source)
    copied = copy_to_compare(built, next(built.parameters()).dtype)
    try:
        if isinstance(copied, SpanModel):
            read = reader_of(imported_network(foreign), tokenizer)
            return compare_spans(copied, read, BUILT_IN_QUESTIONS)
        return compare(copied, imported_model(foreign, tokenizer), BUILT_IN)
    except ValueError as error:
        raise ValueError(
            f"{foreign.source} cannot be imported: the run is not the model of transformers "
            f"({error})"
        ) from None


def origin(foreign: ForeignModel, verification: Verification) -> JsonObject:
    """Return the facts about the origin of a model that its run records."""
    return {
        "began": time.time(),
        "imported": {
            "path": foreign.source,
            "layout": foreign.layout.model_type,
            "files": {file.name: digest_of(file) for file in foreign.files},
            "notes": foreign.model.notes,
            "verification": str(verification),
        },
        **languages_of(foreign.source),
    }


def check_shapes(foreign: ForeignModel, built: Mapping[str, Tensor]) -> None:
    """Check that a model has the weights that config.json implies, in their shapes.

    Args:
        built: weights of our model for this config.json.

    Raises:
        ValueError: a weight is missing, has no place, or has another shape.
    """
    weights, model = foreign.model.weights, foreign.model
    names = {ours: row.theirs for row in foreign.layout.rows(model.parts) for ours in row.ours}
    for name in dict.fromkeys([*weights, *built]):
        shapes = [
            str(tuple(each[name].shape)) if name in each else "absent" for each in (weights, built)
        ]
        if shapes[0] != shapes[1]:
            theirs = next(iter(names.get(name, ())), name)
            raise ValueError(
                f"{foreign.source} cannot be imported: its weights and its config.json differ: "
                f"{theirs} is {shapes[0]} and must be {shapes[1]}; fetch both files again"
            )


def digest_of(file: Path) -> str:
    """Return the SHA-256 digest, in hex, of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
