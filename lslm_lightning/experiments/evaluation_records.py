"""Storage of an evaluation in MLflow: a parent run, and one child run per system."""

import math
from collections.abc import Iterable, Mapping
from inspect import signature
from typing import TYPE_CHECKING

from lslm_lightning.evaluation.duck_typing import unwrapped
from lslm_lightning.evaluation.results import Results
from lslm_lightning.evaluation.scoring import scores_tag
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.reports.conclusion import NOTHING, Conclusion
from lslm_lightning.reports.description import describe, interval_in_words, ranking_table
from lslm_lightning.reports.evaluation import conclusion_on, lead
from lslm_lightning.reports.formatting import counted
from lslm_lightning.tracking.parameters import short_class, short_parameters
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from lslm_lightning.experiments.evaluation import Evaluation

# facts that hold settings which a system found itself: from an endpoint's server, from a Hugging
# Face folder
FOUND = ("replaced", "left_out", "answered_as", "generation_config", "generation_config_set_aside")


def store(evaluation: "Evaluation", tracker: Tracker, results: Results) -> None:
    """Store an evaluation in MLflow: files and a description in the parent run, and one child run
    per system.

    Metrics have the same names in all child runs, so that MLflow can compare the systems.

    Args:
        tracker: tracker of the parent run.
    """
    spec = evaluation.spec
    for path in (evaluation.folder / "metrics.json", evaluation.folder / "report"):
        tracker.log_artifact(path)
    tracker.log_hyperparams({"split": spec.split, "n_shot": spec.n_shot})
    tags = evaluation.tags()
    tracker.set_tags({name: tags[name] for name in ("corpus", "languages")})
    conclusion = lead(results, evaluation.metrics, evaluation.baselines())
    tracker.set_description(description(evaluation, tracker, results, results.entries, conclusion))
    for name in results.entries:
        store_system(evaluation, tracker, results, name)


def store_system(evaluation: "Evaluation", parent: Tracker, results: Results, name: str) -> None:
    """Store the scores, settings and predictions of one system in a child run.

    Args:
        parent: tracker of the parent run.
        name: name of the system.
    """
    spec = evaluation.spec
    entry = results.entries[name]
    folder = evaluation.folder / "systems" / name
    folder.mkdir(parents=True, exist_ok=True)
    child = Tracker(
        spec.task_name,
        f"{name} ({evaluation.folder.name})",
        folder,
        tags=evaluation.tags() | {"system": name},
        parent_run_id=parent.version,
        system_metrics=False,
    )
    child.start()
    scores = results.scores[name]
    values = {f"{spec.split}/{s.metric}": s.value for s in scores.scores} if scores else {}
    child.log_metrics({key: value for key, value in values.items() if not math.isnan(value)}, 0)
    config = {"system": {**spec.specs[name], **found_settings(results, name)}}
    changed = {"system": set_otherwise(unwrapped(evaluation.systems[name]), config["system"])}
    child.log_hyperparams(short_parameters(config, changed) | constants(entry.facts))
    model = short_class(config["system"].get("class_path", name))
    child.set_tags({"headline": f"{spec.split}/{results.headline}", "model": model})
    baselines = evaluation.baselines()
    conclusion = NOTHING if name in baselines else conclusion_on(name, results, baselines)
    child.set_description(description(evaluation, parent, results, [name], conclusion))
    if scores:
        child.set_tags({"scores": scores_tag(scores.scores)})
        if interval := interval_in_words(scores[results.headline]):
            child.set_tags({"interval": interval})
    path = evaluation.predictions.files.path(name)
    if entry.reason:
        child.set_tags({"reason": entry.reason})
    elif path.exists():
        child.log_table(path)
        child.log_artifact(path, "predictions")
    child.end("FAILED" if entry.reason else "FINISHED")


def description(
    evaluation: "Evaluation",
    tracker: Tracker,
    results: Results,
    names: Iterable[str],
    conclusion: Conclusion,
) -> str:
    """Return the Markdown description that MLflow shows for an evaluation, or for some of its
    systems.

    Args:
        tracker: tracker of the parent run, which has the report.
        names: names of the systems to describe.
        conclusion: conclusion from the paired tests.
    """
    spec = evaluation.spec
    names = list(names)
    found = spec.data.evaluation_set(spec.split)
    scored = {name: scores.scores for name in names if (scores := results.scores[name])}
    about = (
        f"{spec.data.corpus.name}, {found.languages}, "
        f"{counted(len(evaluation.examples), 'example')}"
    )
    reasons = {name: reason for name in names if (reason := results.entries[name].reason)}
    return describe(
        ranking_table(scored, results.headline),
        conclusion.markdown(),
        {f"Scored on the {spec.split} split of": about, **reasons},
        command=command_line(),
        links=run_links(tracker, {"report": "report/index.html"}),
    )


def run_links(tracker: Tracker, files: Mapping[str, str]) -> dict[str, str]:
    """Return links to artifacts of an MLflow run, by name, together with the path of the run
    directory.

    Args:
        files: paths of the artifacts, by name of the link.
    """
    return {name: f"{tracker.page}/artifacts/{file}" for name, file in files.items()} | {
        "folder": str(tracker.directory.absolute())
    }


def constants(facts: Mapping[str, object]) -> dict[str, float]:
    """Return the numeric facts of a system, its size and costs, under the names of MLflow
    parameters.
    """
    return {
        name if name == "n_parameter" else f"cost.{name}": float(f"{value:.6g}")
        if isinstance(value, float)
        else value
        for name, value in facts.items()
        if isinstance(value, int | float)
    }


def set_otherwise(system: object, spec: Settings) -> JsonObject:
    """Return the spec of a system, keeping only those `init_args` that differ from the defaults of
    its class.
    """
    defaults = {name: each.default for name, each in signature(type(system)).parameters.items()}
    given = (spec.get("init_args") or {}).items()
    changed = {
        name: value for name, value in given if name not in defaults or value != defaults[name]
    }
    return {name: value for name, value in spec.items() if name != "init_args"} | (
        {"init_args": changed} if changed else {}
    )


def found_settings(results: Results, name: str) -> JsonObject:
    """Return `{"found": ...}` with settings that a system determined itself, which its config
    lacks.

    The mapping is empty if there are none.

    Args:
        name: name of the system.
    """
    facts = results.entries[name].facts if name in results.entries else {}
    found = {key: facts[key] for key in FOUND if facts.get(key)}
    return {"found": found} if found else {}
