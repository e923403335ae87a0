"""The MLflow model of a run: a folder with the model, its signature and requirements, and the code
that it needs.

The folder holds the run as data, not a pickled object: config, tokenizer and best checkpoint are
loaded by `lslm_lightning.integrations.mlflow_model`, which its file `MLmodel` names.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

from lslm_lightning.experiments.generation import OPTIONS, SearchSettings
from lslm_lightning.experiments.needed_code import needed_code
from lslm_lightning.experiments.project_wheel import pinned_requirements, write_wheel
from lslm_lightning.extras import EXTRAS
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import config_to_build
from lslm_lightning.runs.integrity import weights_digest
from lslm_lightning.runs.states import link
from lslm_lightning.runs.weights import read_checkpoint
from lslm_lightning.safety.paths import is_inside
from lslm_lightning.tracking.names import hash_of
from lslm_lightning.tracking.uploads import links_of
from lslm_lightning.training.callbacks.kept_checkpoints import final_record
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from lslm_lightning.contracts import Example
    from lslm_lightning.decoding import AnySearch
    from lslm_lightning.training.task import Task

LOADER = "lslm_lightning.integrations.mlflow_model"
RUN = "run"  # folder of the run in a model's folder `data`
WHEELS = "wheels"
KEPT = ("run_id", "experiment", "languages", "tags", "began", "git.commit", "git.dirty")
TYPES = {int: "long", float: "double"}
MODALITIES = {"audio": "soundfile"}  # package that a modality of sources needs
PRETRAINED = "lslm_lightning.pretrained."
LONGEST_EXAMPLE = 500  # characters of a source in the input example
BASIC = ("checkpoint", "registered", "metric", "score", "loss", "higher_is_better", "conditions")
SERVED = ("columns", "parameters", "example", "packages", "files")  # of a registered model
# what a checkpoint has for resuming alone, up to two thirds of its bytes
FOR_RESUMING = {"optimizer_states", "lr_schedulers", "callbacks", "loops"}


def model_facts(
    task: "Task", directory: RunDirectory, registered_model: str | None, example: "Example | None"
) -> JsonObject:
    """Return what MLflow records of the best checkpoint of a finished training.

    Args:
        registered_model: name under which the model is registered; None to log it without files.
        example: example whose source is the input example.
    """
    final = final_record(directory.checkpoints)
    facts: JsonObject = {
        "checkpoint": weights_digest(directory.best),
        "registered": registered_model,
        "metric": task.monitor,
        "score": final.get("best_score"),
        "loss": final.get("best_loss"),
        "higher_is_better": task.higher_is_better,
        "conditions": conditions_of(task, final.get("measured")),
    }
    if registered_model is not None:
        facts |= {
            "columns": list(task.answering.columns),
            "parameters": search_parameters(task),
            "example": input_example(task, example),
            "packages": needed_packages(task, directory),
            "files": [path.name for path in task.model_info.files(directory.checkpoints)],
        }
    return facts


def conditions_of(task: "Task", measured: dict[str, str] | None) -> str | None:
    """Return a digest of what besides the weights decides the score of a checkpoint: two scores are
    comparable if they have the same; None if the checkpoint was not validated.

    A loss is in nats per token, so that the tokenizer, and the windows of a language model, belong
    to its conditions too.

    Args:
        measured: the conditions that `final_record` has.
    """
    from lslm_lightning.training.causal import CausalTask

    if not measured:
        return None
    conditions: JsonObject = dict(measured)
    if task.monitor == "val/loss":
        conditions["tokenizer"] = task.tokenizer.digest
        if isinstance(task, CausalTask):
            conditions |= {"context": task.context, "stride": task.stride}
    return hash_of(json.dumps(conditions, sort_keys=True))


def search_parameters(task: "Task") -> list[list[Json]]:
    """Return name, MLflow type and default of each parameter of a prediction: the settings of the
    search and the lengths of the run, which a prediction may replace, and the seed of a search that
    draws.
    """
    from lslm_lightning.decoding import CtcSearch

    search: AnySearch | None = task.search
    if search is None:
        return []
    own: set[str] = {field.name for field in fields(search)} if is_dataclass(search) else set()
    values = {name: getattr(search, name) for name in OPTIONS if name in own}
    if not isinstance(search, CtcSearch):
        values |= {"max_length": task.max_length, "min_length": task.min_length}
    types = get_type_hints(SearchSettings)
    found: list[list[Json]] = []
    for name, value in sorted(values.items()):
        kind = next(each for each in get_args(types[name]) if each in TYPES)
        found.append([name, TYPES[kind], None if value is None else kind(value)])
    return [*found, *([["seed", TYPES[int], 0]] if "seed" in own else [])]


def input_example(task: "Task", example: "Example | None") -> list[str]:
    """Return the texts, one for each column, of an example for the reader of a model's page."""
    columns = task.answering.columns
    text = "" if example is None else example.source[:LONGEST_EXAMPLE]
    if task.modality != "text":
        text = Path(text).name  # where the recording lies is of no use to others
    lines = text.split("\n", len(columns) - 1)
    return [*lines, *("" for _ in columns[len(lines) :])]


def needed_packages(task: "Task", directory: RunDirectory) -> list[str]:
    """Return the packages beyond the base installation that answering needs, keys of `EXTRAS`."""
    found = {MODALITIES[task.modality]} if task.modality in MODALITIES else set()
    is_chat = isinstance(task, LanguageModel) and bool(task.prompt.chat_template)
    if is_chat or PRETRAINED in directory.config.read_text("utf-8"):
        found.add("transformers")
    if task.adapter is not None:
        found |= {"peft", "transformers"}
    if "jieba" in sys.modules:
        found.add("jieba")
    return sorted(found)


def is_model_of(facts: JsonObject, directory: RunDirectory) -> bool:
    """Return whether recorded facts are complete and describe the best checkpoint of a run.

    A run directory may come from somebody else, so the names of files are checked too, and links
    are not followed.
    """
    needed = {*BASIC, *(SERVED if facts.get("registered") else ())}
    names = facts.get("files", [])
    if not needed <= facts.keys() or not all(map(is_file_name, names)):
        return False
    files = [directory.best, *(directory.checkpoints / name for name in names)]
    if any(links_of(file, directory.path) for file in files):
        return False
    try:
        return bool(weights_digest(directory.best) == facts["checkpoint"])
    except OSError:
        return False


def is_file_name(name: object) -> bool:
    """Return whether a value is the name of a file in a folder, and no path."""
    return isinstance(name, str) and is_inside(name) and Path(name).name == name


# The folder


def write_model(folder: Path, facts: JsonObject, directory: RunDirectory) -> str:
    """Write the MLflow model of a run into the folder `folder`, which must not exist; return the
    digest of its weights.

    Args:
        facts: what `model_facts` returned.

    Raises:
        ValueError: the project is not installed, or the code of a class of the run is not found.
        OSError: the folder cannot be written.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    staged = folder.with_name(f"{folder.name}.{RUN}")
    draft = RunDirectory(staged / RUN)
    shutil.rmtree(staged, ignore_errors=True)
    draft.path.mkdir(parents=True)
    try:
        write_run(draft, directory)
        code = needed_code(config_to_build(directory.config)["model"])
        wheel = write_wheel(staged / WHEELS)
        model = Model(run_id=facts.get("run_id"), model_id=facts.get("model_id"))
        pyfunc.save_model(
            folder,
            mlflow_model=model,
            loader_module=LOADER,
            data_path=str(draft.path),
            code_paths=copies_of(code.files, staged / "code") or None,
            signature=signature_of(facts["columns"], facts["parameters"]),
            input_example=example_of(facts["columns"], facts["example"]),
            pip_requirements=[
                f"{WHEELS}/{wheel.name}",
                *pinned_requirements({EXTRAS[name] for name in facts["packages"]}, code.packages),
            ],
            model_config={"device": "auto", "batch_size": 32, "trust": code.needs_trust},
        )
        (folder / WHEELS).mkdir()
        wheel.rename(folder / WHEELS / wheel.name)
        copy = RunDirectory(folder / "data" / RUN)
        copy.checkpoints.mkdir()
        write_weights(copy.best, directory.best)
        for name in facts["files"]:
            link(directory.checkpoints / name, copy.checkpoints / name)
        model.model_size_bytes = sum(path.stat().st_size for path in folder.rglob("*"))
        model.save(str(folder / "MLmodel"))
        return weights_digest(copy.best)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_run(draft: RunDirectory, directory: RunDirectory) -> None:
    """Copy the small files of a run that its model needs in order to answer as it was tested."""
    for path in (directory.config, directory.tokenizer, directory.metrics):
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, draft.path / path.name)
    known = {name: value for name, value in directory.beginning.items() if name in KEPT}
    draft.record.write_text(json.dumps(known) + "\n", "utf-8")


def copies_of(files: Sequence[str], folder: Path) -> list[str]:
    """Copy files and folders of code into a folder, without hidden files and links that lead
    nowhere, and return the paths of the copies.
    """
    folder.mkdir()
    copies = [folder / Path(file).name for file in files]
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    for file, copy in zip(files, copies, strict=True):
        if Path(file).is_dir():
            shutil.copytree(file, copy, ignore=hidden, ignore_dangling_symlinks=True)
        else:
            shutil.copyfile(file, copy)
    return [str(copy) for copy in copies]


def write_weights(path: Path, checkpoint: Path) -> None:
    """Write a checkpoint to the file `path`, without what only a resumed training needs."""
    import torch

    state = read_checkpoint(checkpoint)
    torch.save({name: value for name, value in state.items() if name not in FOR_RESUMING}, path)


def signature_of(columns: Sequence[str], parameters: Sequence[Sequence[Json]]) -> "ModelSignature":
    """Return MLflow's signature of a model that answers texts.

    A single column has no name, so that a list of texts is taken as well as a table.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    names = [None] if len(columns) == 1 else columns
    inputs = Schema([ColSpec("string", name) for name in names])
    outputs = Schema([ColSpec("string")])
    if not parameters:
        return ModelSignature(inputs, outputs)
    params = [ParamSpec(name, kind, default) for name, kind, default in parameters]
    return ModelSignature(inputs, outputs, ParamSchema(params))


def example_of(columns: Sequence[str], texts: Sequence[str]) -> object:
    """Return the input example of a model: a list of one text, or a table of one row."""
    if len(columns) == 1:
        return list(texts)
    import pandas as pd

    return pd.DataFrame([texts], columns=list(columns))
