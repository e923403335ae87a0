"""Old names in configs and runs of earlier releases, and the new names that replaced them.

Every config, every config.yaml of a run and every command line passes through here, so that the
rest of the code knows the new names only. Each old name that is found causes a `FutureWarning`.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TextIO, TypeVar

from lslm_lightning.types import Json

T = TypeVar("T")
DROPPED_IN = "0.3"  # the release that no longer reads the old names

CLASS_PATHS = {
    "lslm_lightning.models.heads.FreeProjection": "lslm_lightning.models.heads.LinearHead",
    "lslm_lightning.models.heads.TiedProjection": "lslm_lightning.models.heads.TiedHead",
    "lslm_lightning.models.positions.NoPosition": (
        "lslm_lightning.models.positions.NoPositionalEncoding"
    ),
    "lslm_lightning.optim.Trapezoid": "lslm_lightning.optim.WarmupStableDecay",
    "lslm_lightning.systems.hugging_face.HuggingFace": (
        "lslm_lightning.systems.hugging_face.HuggingFaceSystem"
    ),
    "lslm_lightning.text.hugging_face.HuggingFace": (
        "lslm_lightning.text.hugging_face.HuggingFaceTokenizer"
    ),
    "lslm_lightning.text.recipes.Existing": "lslm_lightning.text.recipes.TokenizerFile",
    "lslm_lightning.training.sharding.ShardedStrategy": (
        "lslm_lightning.training.distributed.fsdp.ShardedStrategy"
    ),
    "tasks.question_answering.bidaf.AttentionFlow": (
        "tasks.question_answering.extractive.bidaf.AttentionFlow"
    ),
    "tasks.question_answering.judge.Judge": (
        "tasks.question_answering.extractive.answerability.AnswerabilityHead"
    ),
    "tasks.question_answering.span_data.SpanData": (
        "tasks.question_answering.extractive.data.SpanData"
    ),
    "tasks.question_answering.spans.SpanTask": "tasks.question_answering.extractive.task.SpanTask",
    "tasks.summarization.extractive.ExtractiveTask": (
        "tasks.summarization.extractive.task.ExtractiveTask"
    ),
    "tasks.summarization.extractive_data.ExtractiveData": (
        "tasks.summarization.extractive.data.ExtractiveData"
    ),
}

# By the setting or the class that a key belongs to: `data` stands for `data.exam_tokens`, for
# `data: {init_args: {exam_tokens: ...}}` and for both inside `base` or a variant.
KEYS = {
    ("", "rungs"): "variants",
    ("data", "exam_tokens"): "eval_batch_tokens",
    ("data", "has_hints"): "overlap_features",
    ("data", "unreadable"): "on_unreadable",
    ("model", "has_hints"): "overlap_features",
    ("model", "judge"): "answerability_head",
}

# By the new name of the setting.
VALUES = {("data", "on_unreadable"): {"leave out": "skip", "refuse": "error"}}

COMMANDS = {"ladder": "sweep"}

# Words in descriptions of batches, which are compared with those in checkpoints.
IN_CHECKPOINTS = {"overlap_features": "hints"}

# Methods of `Task` that tasks of one's own overrode, and what they override now.
TASK_METHODS = {
    "answers": "Answering.predict, in answering_class",
    "baselines": "TaskReport.baselines, in report_class",
    "bound_answers": "DataRequirements.choose_max_length, in requirements_class",
    "check": "DataRequirements.check, in requirements_class",
    "cut_sources": "Answering.cut_sources, in answering_class",
    "example": "Answering.example, in answering_class",
    "files_beside": "ModelInfo.files, in model_info_class",
    "lend": "DataRequirements.bind, in requirements_class",
    "load_beside": "ModelInfo.load_files, in model_info_class",
    "measured_by": "Validation.conditions, in validation_class",
    "memory_bytes": "ModelInfo.n_byte, in model_info_class",
    "model_name": "ModelInfo.name, in model_info_class",
    "n_parameter": "ModelInfo.n_parameter, in model_info_class",
    "rehearse": "Answering.benchmark_step, in answering_class",
    "samples": "Answering.samples, in answering_class",
    "sections": "TaskReport.sections, in report_class",
    "sections_of": "TaskReport.comparison, in report_class",
    "signature_of_answers": "Answering.signature, in answering_class",
    "tuned": "Answering.calibrate, in answering_class",
    "validation_metrics": "Validation.names, in validation_class",
    "validation_values": "Validation.values, in validation_class",
}

# Beginnings of the names of weights in checkpoints.
WEIGHTS = {"judge.": "answerability_head."}


class Renaming(NamedTuple):
    """Old name that was found, written as a user writes it, and the new name."""

    old: str
    new: str


def renamed(document: Json, owner: str = "") -> Json:
    """Return a parsed YAML document with old names replaced by new ones, and warn of each old name.

    Args:
        document: any YAML value; it is not changed.
        owner: name of the setting that has the document as its value, such as "data" or "model"; ""
            for a whole config.
    """
    if isinstance(document, Mapping):
        return _renamed_mapping(document, owner)
    if isinstance(document, list):
        return [renamed(item, owner) for item in document]
    return _renamed_class(document) if isinstance(document, str) else document


def _renamed_mapping(document: Mapping[Json, Json], owner: str) -> dict[Json, Json]:
    """Return a mapping with old names replaced by new ones, in its keys and inside its values.

    Args:
        document: any mapping in a YAML document.
        owner: name of the setting that has the mapping as its value; "" for a whole config.
    """
    class_path = document.get("class_path")
    kind = _renamed_class(class_path) if isinstance(class_path, str) else ""
    owners = tuple(dict.fromkeys((owner, kind))) if kind else (owner,)
    new: dict[Json, Json] = {}
    for key, value in document.items():
        if not isinstance(key, str):
            new[key] = renamed(value)
        elif key == "init_args" and isinstance(value, Mapping):
            new[key] = _renamed_arguments_of(value, owners)
        elif key == "class_path":
            new[key] = kind or value
        else:
            new_key, setting = renamed_key(key, owner)
            _add(new, new_key, renamed_value(value, setting), key)
    return new


def _renamed_arguments_of(given: Mapping[Json, Json], owners: Sequence[str]) -> dict[Json, Json]:
    """Return the `init_args` of a class with old names replaced by new ones.

    Args:
        given: the arguments by name.
        owners: the setting and the class that have the arguments; renamings of either apply.
    """
    new: dict[Json, Json] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            new[key] = renamed(value)
            continue
        new_key, setting = key, (owners[0], key)
        for owner in owners:
            candidate, found = renamed_key(key, owner)
            if candidate != key or found in VALUES:
                new_key, setting = candidate, found
                break
        _add(new, new_key, renamed_value(value, setting), key)
    return new


def _add(new: dict[Json, Json], key: str, value: Json, as_given: str) -> None:
    """Add an entry to a mapping of new names.

    Args:
        new: mapping to add to.
        key: new name.
        value: value of the entry.
        as_given: name that the user wrote.

    Raises:
        ValueError: the entry is given both by its old name and by its new one.
    """
    if key in new:
        old = next((old for (_, old), name in KEYS.items() if name == key), as_given)
        raise ValueError(f"{old} and {key}, its new name, are both given; leave one out")
    new[key] = value


def new_command(name: str) -> str:
    """Return the new name of a renamed command, and warn; return any other name unchanged."""
    new = COMMANDS.get(name, name)
    if new != name:
        _tell(Renaming(f"lslm {name}", f"lslm {new}"))
    return new


def renamed_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Return the weights of a checkpoint with old names replaced by new ones, in the same order."""
    return {
        next(
            (f"{new}{name[len(old) :]}" for old, new in WEIGHTS.items() if name.startswith(old)),
            name,
        ): value
        for name, value in weights.items()
    }


def renamed_key(dotted: str, owner: str) -> tuple[str, tuple[str, str]]:
    """Return (key with old names replaced by new ones, (owner, name) of the setting that it names).

    Args:
        dotted: key in a config or on the command line, such as "model" or
            "model.init_args.context".
        owner: name of the setting that contains the key; "" for the top of a config.
    """
    parts = dotted.split(".")
    setting = (owner, parts[-1])
    for i, part in enumerate(parts):
        if part in ("init_args", "class_path"):
            continue
        name = part.removesuffix("+")
        if (owner, name) in KEYS:
            parts[i] = KEYS[owner, name] + part[len(name) :]
            prefix = f"{owner}." if owner else ""
            _tell(Renaming(f"{prefix}{name}", f"{prefix}{KEYS[owner, name]}"))
        setting = (owner, parts[i].removesuffix("+"))
        owner = setting[1]
    return ".".join(parts), setting


def renamed_value(value: Json, setting: tuple[str, str]) -> Json:
    """Return the value of a setting with old names replaced by new ones.

    Args:
        value: value to convert.
        setting: (owner, name) of the setting.
    """
    words = VALUES.get(setting, {})
    if isinstance(value, str) and value in words:
        name = ".".join(filter(None, setting))
        _tell(Renaming(f"{name}: {value}", f"{name}: {words[value]}"))
        return words[value]
    return renamed(value, setting[1])


def _renamed_class(name: str) -> str:
    """Return the new import path of a renamed class, and warn; return any other name unchanged."""
    new = CLASS_PATHS.get(name, name)
    if new != name:
        _tell(Renaming(name, new))
    return new


def _tell(renaming: Renaming) -> None:
    """Warn of an old name."""
    warn_on_one_process(
        f"`{renaming.old}` is called `{renaming.new}` now; the old name is read until release "
        f"{DROPPED_IN}"
    )


def warn_on_one_process(message: str) -> None:
    """Issue a `FutureWarning` on local rank 0 only."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        warnings.warn(message, FutureWarning, stacklevel=1)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings about names of earlier releases as one line each, once per command."""
    before = warnings.showwarning
    shown: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category is FutureWarning and str(message) not in shown:
            shown.add(str(message))
            print(f"lslm: {message}", file=sys.stderr)
        elif category is FutureWarning:  # libraries forget what was shown
            return
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        if not sys.warnoptions:  # by which the user says which warnings to show
            warnings.simplefilter("default", FutureWarning)
        warnings.showwarning = show
        yield
