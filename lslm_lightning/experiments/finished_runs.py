"""Finished, tested runs, as comparisons read them from disk."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from lslm_lightning.contracts import Metric, Prediction, Score, join_signature, signature_parts
from lslm_lightning.evaluation.comparison import ANSWERING
from lslm_lightning.evaluation.results import Entry
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.experiments.run_records import timing, training_flops
from lslm_lightning.metrics.names import made_metrics
from lslm_lightning.run_files import METRICS
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.trust import check_trust, only_trusted, resolve
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.types import JsonObject, Settings


@dataclass(frozen=True)
class Finished:
    """Finished, tested run with its configuration and its recorded scores.

    Args:
        data: recorded facts about the test set: corpus, split, digest.
        facts: recorded length limit of answers and number of truncated sources, as in
            `Entry.facts`.
        group: name shared by runs that differ only in their seed.
    """

    name: str
    directory: RunDirectory
    config: JsonObject
    scores: list[Score]
    data: dict[str, str]
    facts: dict[str, str]
    group: str

    @property
    def by_metric(self) -> dict[str, Score]:
        """Recorded scores, by metric name."""
        return {score.metric: score for score in self.scores}


def open_run(directory: RunDirectory) -> list[Finished]:
    """Read a finished run; for the parent run of several seeds, read every child run.

    Raises:
        ValueError: the run was not tested.
    """
    record = json.loads(directory.metrics.read_text("utf-8")) if directory.metrics.exists() else {}
    name = directory.path.name
    if "summary" not in record:  # which only the parent of several seeds has
        return [open_one(directory, name)]
    children = sorted(directory.path.parent.glob(f"{name}-seed-*/{METRICS}"))
    return [open_one(RunDirectory(path.parent), name) for path in children]


def open_one(directory: RunDirectory, group: str) -> Finished:
    """Read one finished run.

    Args:
        group: name shared by runs that differ only in their seed.

    Raises:
        ValueError: the run was not tested.
    """
    config = read_config(directory.config)
    if not directory.metrics.exists() and "data" not in config:
        raise ValueError(
            f"{directory.path} has no metrics.json: an imported model has no test set of its own; "
            "name the run among the systems of `lslm evaluate --config FILE`"
        )
    if not directory.metrics.exists():
        raise ValueError(
            f"{directory.path} has no metrics.json: it was not tested; lslm test --config "
            f"{quote(str(directory.config))} --ckpt_path {quote(str(directory.best))}"
        )
    record = json.loads(directory.metrics.read_text("utf-8"))
    return Finished(
        directory.path.name,
        directory,
        config,
        read_scores(directory.metrics),
        record.get("data", {}),
        record["facts"] if "facts" in record else recorded_cuts(config, record),
        group,
    )


def config_text(run: Finished) -> str:
    """Return the config.yaml of a run as text, with secrets removed. Its first line is a comment
    with the command, if the run has one.
    """
    command = run.directory.command
    shown = dump_yaml(redacted_settings(run.config))
    return f"# {redacted(command)}\n{shown}" if command else shown


def entry(run: Finished, predictions: Sequence[Prediction]) -> Entry:
    """Build the evaluation entry of a finished run from its recorded predictions, signature, size
    and costs.
    """
    size = n_parameter(run.directory)
    facts: dict[str, object] = {**timing(predictions)}
    if size:
        facts["n_parameter"] = size
    facts |= training_flops(run.directory, size)
    facts |= run.facts
    parts = dict.fromkeys(
        part
        for score in run.scores
        for part in signature_parts(score.signature)
        if part.partition(":")[0] in ANSWERING
    )
    return Entry(
        run.name, predictions, recorded=run.by_metric, signature=join_signature(parts), facts=facts
    )


def recorded_cuts(config: JsonObject, record: JsonObject) -> dict[str, str]:
    """Return the facts of a run of an earlier release, whose metrics.json does not have them: its
    length limit from its config, and the text on truncated sources from its findings.

    Args:
        record: content of metrics.json.
    """
    longest = (config["model"].get("init_args") or {}).get("max_length")
    found = record.get("findings", [])
    cut = [finding["words"] for finding in found if finding["check"] == "cut sources"]
    return ({"limit": f"max_length={longest}"} if longest else {}) | (
        {"cut_sources": cut[0]} if cut else {}
    )


def n_parameter(directory: RunDirectory) -> int | None:
    """Return the number of model parameters that a run recorded at the start of training; None if
    it recorded none.
    """
    noted = str(directory.beginning.get("parameters", {}).get("n_parameter", ""))
    if noted.isdecimal():
        return int(noted)
    # a run of an earlier release
    lines = directory.curves.read_text("utf-8").splitlines() if directory.curves.exists() else []
    found = [
        json.loads(line)["value"]
        for line in lines
        if '"model/parameters"' in line and line.endswith("}")
    ]
    return int(found[0]) if found else None


def began(directory: RunDirectory) -> str | None:
    """Return the start date and git commit of a run as text; None if neither was recorded."""
    noted = directory.beginning
    date = (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(noted["began"])) if "began" in noted else ""
    )
    commit = f"commit {noted['git.commit']}" if noted.get("git.commit") else ""
    changed = "and uncommitted changes" if noted.get("git.dirty") == "true" else ""
    return " ".join(part for part in (date, commit, changed) if part) or None


def extra_metrics(runs: Sequence[Finished], trust: bool = False) -> list[Metric]:
    """Return the metrics that the configs of all these runs list under `model.extra_metrics`.

    Args:
        trust: allow metric classes that are not trusted.

    Raises:
        ValueError: a metric class is not trusted, since it could run arbitrary code.
    """
    named = [
        (run.config["model"].get("init_args") or {}).get("extra_metrics") or [] for run in runs
    ]
    shared = [spec for spec in named[0] if all(spec in others for others in named)]
    if trust:
        return [metric for spec in shared for metric in metrics_of_spec(spec)]
    with only_trusted(training=True):
        check_trust(shared)
        return [metric for spec in shared for metric in metrics_of_spec(spec)]


def metrics_of_spec(spec: Settings) -> list[Metric]:
    """Return the metrics that a config specifies by `class_path` and `init_args`.

    Raises:
        ValueError: there is no such class, it may not be imported (`only_trusted`), or it is not a
            metric.
    """
    path = spec["class_path"]
    return made_metrics(resolve(path), path, spec.get("init_args"))
