"""Identification of the evaluation set that a finished run was tested on, also for earlier
releases.
"""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from lslm_lightning.contracts import Example, Metric, Prediction, Score, signature_parts
from lslm_lightning.evaluation.evaluation_set import (
    VERSION,
    EvaluationSet,
    evaluation_set,
    shown,
    version_of,
)
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.scoring import read_scores, score
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.loading import without_extra_metrics
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import (
    check_trust,
    is_restricted,
    only_trusted,
    refuse_denied,
    resolve,
)
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject, Settings

# arguments that change no example of a test
NO_MATTER = ("tokenizer", "seed", "num_workers", "stream", "prepared")
SPLIT = "test"


@dataclass(frozen=True, slots=True)
class FoundSet:
    """Evaluation set that a run was tested on.

    Attributes:
        found: the evaluation set; None if it cannot be determined.
        reason: why it cannot be determined; "" if it is known.
        note: how the set was determined, if the run itself did not record it.
    """

    found: EvaluationSet | None
    reason: str = ""
    note: str = ""


def find_set(directory: RunDirectory, known: dict[str, TaskData], trust: bool = False) -> FoundSet:
    """Determine the evaluation set that the scores in a run's metrics.json belong to.

    Runs of this release record the set. Earlier releases recorded only a digest of the corpus
    files, which does not tell languages or columns. For their runs the set is computed from the
    run's config and the corpus on this machine. This set is accepted if the corpus files are
    unchanged, or if scoring the recorded outputs on it reproduces the recorded scores.

    Args:
        known: cache of data modules, see `opened`; new ones are added.
        trust: allow the run's config to name classes outside of this project.

    Raises:
        ValueError: the run was not tested.
    """
    record = json.loads(directory.metrics.read_text("utf-8"))
    data = record.get("data", {})
    scores = read_scores(directory.metrics)
    digest = data.get("digest", "")
    if version_of(digest) == VERSION:
        return FoundSet(
            EvaluationSet(
                digest,
                data.get("members", ""),
                data.get("ids", ""),
                data.get("languages", ""),
                scores[0].n_example if scores else 0,
            )
        )
    if version_of(digest) > VERSION:
        return FoundSet(None, f"its digest, {shown(digest)}, is of a newer release than this one")
    by_release = "an earlier release recorded its test set without languages"
    try:
        own, task = data_and_task(directory, known, trust)
        examples = list(own.examples(SPLIT))
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        return FoundSet(None, f"{by_release}, and the corpus cannot be read here ({reason})")
    same_files = bool(digest) and own.corpus.digest(SPLIT) == digest
    found = recomputed_set(examples, outputs_of(directory), scores, task, same_files)
    return replace(found, reason=f"{by_release}, and {found.reason}" if found.reason else "")


def data_and_task(
    directory: RunDirectory, known: dict[str, TaskData], trust: bool
) -> tuple[TaskData, type[Task]]:
    """Return the data module and the task class that a run's config names.

    Args:
        known: cache of data modules, see `opened`; new ones are added.
        trust: allow the run's config to name classes outside of this project.

    Raises:
        ValueError, OSError, KeyError: the config or the corpus cannot be read.
    """
    config = trusted_config(directory, trust)
    with nullcontext() if trust else only_trusted():
        return opened(config["data"], known), resolve(config["model"]["class_path"])


def trusted_config(directory: RunDirectory, trust: bool) -> JsonObject:
    """Return the config of a run, after checking that it names only classes that may be imported.

    Args:
        trust: allow it to name classes outside of this project.

    Raises:
        ValueError, OSError: the config cannot be read, or is not trusted.
    """
    config = read_config(directory.config)
    if trust:
        add_working_directory(config)
    else:
        check_trust(without_extra_metrics(config["model"]))
        check_trust(config["data"])
    return config


def whole_data(directory: RunDirectory, trust: bool = False) -> TaskData:
    """Return the data module of a run as it was trained with, streams and prepared ids included,
    with the tokenizer of the run.

    Args:
        trust: allow the run's config to name classes outside of this project.

    Raises:
        ValueError, OSError, KeyError: the config or the corpus cannot be read.
    """
    from lslm_lightning.text.recipes import TokenizerFile

    config = trusted_config(directory, trust)
    with nullcontext() if trust else only_trusted():
        data = data_of(config["data"])
    if directory.tokenizer.is_file():
        data.recipe = TokenizerFile(str(directory.tokenizer))
    return data


def recomputed_set(
    examples: list[Example],
    predictions: Sequence[Prediction],
    scores: Sequence[Score],
    task: type[Task],
    same_files: bool,
) -> FoundSet:
    """Compute the evaluation set of a run that did not record it.

    Args:
        examples: test examples from the corpus on this machine.
        predictions: test predictions of the run; empty if they are not on this machine.
        scores: recorded test scores of the run.
        task: task class of the run.
        same_files: whether the corpus files are unchanged since the test.
    """
    if predictions:
        answered = {p.id for p in predictions}
        examples = [e for e in examples if e.id in answered]
    n_scored = scores[0].n_example if scores else len(examples)
    if len(examples) != n_scored or (predictions and len(examples) != len(predictions)):
        return FoundSet(None, "the corpus here has other examples than were scored")
    if not examples:
        return FoundSet(None, "the corpus here has none of its examples")
    metrics = task.metrics(examples[0].language)
    if same_files:
        # where the headline metric decides, the others would be slow
        headline = [metric for metric in metrics if metric.name == task.headline]
        agrees = agreement(examples, predictions, headline, scores)
        if agrees is None:
            agrees = agreement(examples, predictions, metrics, scores)
        if agrees is False:
            return FoundSet(None, "this release reads the files of the corpus otherwise")
        note = "computed from its config and its corpus, whose files are as they were"
        return FoundSet(evaluation_set(examples), note=note)
    if agreement(examples, predictions, metrics, scores):
        note = (
            "computed from its config and its corpus: its outputs have the recorded scores "
            "there; sources were not checked"
        )
        return FoundSet(evaluation_set(examples), note=note)
    return FoundSet(None, "the files of the corpus have changed since")


def agreement(
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric],
    recorded: Sequence[Score],
) -> bool | None:
    """Return whether scoring recorded outputs on these examples reproduces the recorded scores.

    Args:
        predictions: recorded outputs of the run.
        recorded: recorded scores of the run.

    Returns:
        None if this cannot be decided: there are no outputs, the metrics have changed, or the
        scores are 0.
    """
    if not predictions:
        return None
    try:
        now = score(examples, predictions, metrics, n_resample=0)
    except ValueError:
        return False
    then = {each.metric: each for each in recorded}
    proven = None
    for found in now.scores:
        if found.metric not in then:
            continue
        before = then[found.metric]
        if signature_parts(before.signature)[:1] != signature_parts(found.signature)[:1]:
            return False  # the number of references
        if not before.signature.startswith(found.signature) or (
            math.isnan(before.value) and math.isnan(found.value)
        ):
            continue
        if not math.isclose(before.value, found.value, rel_tol=1e-6):
            return False
        proven = proven or bool(found.value) or None
    return proven


def outputs_of(directory: RunDirectory) -> list[Prediction]:
    """Read the test predictions of a run; an empty list if there are none on this machine."""
    path = directory.predictions / f"{SPLIT}.jsonl"
    return read_predictions(path) if path.exists() else []


def opened(spec: Settings, known: dict[str, TaskData]) -> TaskData:
    """Return the data module that the `data` block of a run's config describes, building it if it
    is not cached.

    Args:
        spec: the `data` block: class path and arguments.
        known: cache of data modules, to which a new one is added. Settings that do not change the
            examples are ignored, so that runs with the same examples share one data module.
    """
    arguments = {
        name: value
        for name, value in (spec.get("init_args") or {}).items()
        if name not in NO_MATTER
    }
    key = json.dumps([spec["class_path"], arguments], sort_keys=True, default=str)
    if key not in known:
        known[key] = data_of({"class_path": spec["class_path"], "init_args": arguments})
    return known[key]


def data_of(spec: Settings) -> TaskData:
    """Build the data module that the `data` block of a run's config describes.

    Args:
        spec: the `data` block: class path and arguments.

    Raises:
        ValueError: the config does not fit this release, or names a class that is not trusted.
    """
    from lslm_lightning.runs.parser import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskData, "data", fail_untyped=False)
    try:
        parsed = parser.parse_object({"data": dict(spec)})
        if is_restricted():
            check_trust(parsed)
        data = parser.instantiate(parsed).data
        assert isinstance(data, TaskData)
        return data
    except ArgumentError as error:
        refuse_denied(str(error))
        raise ValueError(" ".join(str(error).split())) from None


def examples_of(
    directory: RunDirectory, data: TaskData, wanted: EvaluationSet
) -> list[Example] | None:
    """Return the examples that a run was tested on; None if the corpus no longer has them.

    Args:
        data: data module of the run.
        wanted: evaluation set that the examples must form.
    """
    try:
        examples = list(data.examples(SPLIT))
        if data.evaluation_set(SPLIT).digest == wanted.digest:
            return examples
        answered = {p.id for p in outputs_of(directory)}
        part = [e for e in examples if e.id in answered]
        return part if part and evaluation_set(part).digest == wanted.digest else None
    except (ValueError, OSError):
        return None


def paired(
    directory: RunDirectory,
    own: EvaluationSet,
    data: TaskData | None,
    examples: Sequence[Example],
    ids: str,
) -> list[Prediction] | None:
    """Return a run's recorded predictions for these examples, in the order of the examples.

    If the run was tested under other example ids, its predictions are matched by position instead.

    Args:
        own: evaluation set that the run was tested on.
        data: data module of the run; None if its corpus is not on this machine.
        examples: examples to find the predictions of.
        ids: `EvaluationSet.ids` of `examples`.

    Returns:
        None if a prediction is missing.
    """
    by_id = {p.id: p for p in outputs_of(directory)}
    names = [e.id for e in examples]
    if own.ids != ids:
        known = None if data is None else examples_of(directory, data, own)
        if known is None:
            return None
        names = [e.id for e in known]
    if len(names) != len(examples) or any(name not in by_id for name in names):
        return None
    return [replace(by_id[name], id=e.id) for name, e in zip(names, examples, strict=True)]
