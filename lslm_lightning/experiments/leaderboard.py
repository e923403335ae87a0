"""Table of all finished runs of an MLflow experiment, grouped by which scores are comparable."""

import inspect
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from lslm_lightning.contracts import metric_key, metric_label
from lslm_lightning.evaluation.comparison import comparable_signature, without_windows
from lslm_lightning.evaluation.evaluation_set import EvaluationSet, shown, version_of
from lslm_lightning.experiments.evaluation_sets import find_set
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import Cell, Code, Heading, Table
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.database import check_exists
from lslm_lightning.tracking.lost import end_lost_runs
from lslm_lightning.tracking.views import NO_SCORES
from lslm_lightning.training.data import TaskData
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

PAGE = 1000  # runs asked for at a time


def leaderboard(experiment: str, metric: str | None = None) -> Table:
    """Build a table of all finished runs that have a metric, with comparable runs next to each
    other, the best first.

    Runs are comparable if they were scored on the same evaluation set with the same metric
    signature. A compressor, whose scores have no `context`, stands with every language model that
    differs in nothing else.

    Args:
        experiment: name of the MLflow experiment.
        metric: metric as typed by the user, such as "test/bleu" or "bleu"; None for every test
            metric, sorted by the first.

    Raises:
        ValueError: the experiment does not exist, or no finished run has the metric.
    """
    finished, n_other = runs_of(experiment)
    names = metric_names(finished, metric)
    runs = [run for run in finished if any(name in run.data.metrics for name in names)]
    if not runs:
        logged = {name for run in finished for name in run.data.metrics if "/" in name}
        raise ValueError(
            f"no finished run of {experiment!r} has {metric or 'a metric of a test'}; there are "
            f"{', '.join(sorted(logged)) or 'no metrics'}"
        )
    known: dict[str, TaskData] = {}
    own = {run.info.run_id: group_of(run, names[0], known) for run in runs}
    ranked = ranked_in(dict.fromkeys(own.values()))
    groups = {of_run: ranked[group] for of_run, group in own.items()}
    sizes = Counter(group for members in groups.values() for group in members)
    order = {group: i for i, (group, _) in enumerate(sizes.most_common())}
    labels = {group: letters(i) for group, i in order.items()}
    down = lower_is_better(names[0], runs)

    def position(run: "MlflowRun") -> tuple[int, float]:
        value = run.data.metrics.get(names[0], math.nan)
        rank = math.inf if math.isnan(value) else value if down else -value
        return min(order[group] for group in groups[run.info.run_id]), rank

    rows: list[list[Cell]] = [
        row_of(
            run,
            names,
            own[run.info.run_id],
            ", ".join(labels[group] for group in order if group in groups[run.info.run_id]),
        )
        for run in sorted(runs, key=position)
    ]
    headings = [
        Heading(metric_label(name), "", not lower_is_better(name, runs), name) for name in names
    ]
    columns: list[Heading | str] = ["run", "set", *headings, "kind", "corpus", "data", "seed"]
    title = f"{experiment}, by {metric_label(names[0])}"
    return Table([*columns, "MLflow id"], rows, title, notes_on(labels, n_other))


def metric_names(runs: Sequence["MlflowRun"], metric: str | None) -> list[str]:
    """Return the MLflow names of the metrics to show.

    Args:
        metric: metric as typed by the user, such as "test/bleu" or "bleu"; None for every test
            metric.
    """
    logged = {name for run in runs for name in run.data.metrics}
    tested = {name for name in logged if name.startswith("test/") and not name.endswith(NO_SCORES)}
    if not metric:
        return sorted(tested)
    of_test = metric_key(f"test/{metric}", tested)
    if of_test in tested:
        return [of_test]
    return [metric_key(of_test.removeprefix("test/"), sorted(logged))]


def row_of(run: "MlflowRun", names: Sequence[str], group: "Group", label: str) -> list[Cell]:
    """Return the cells of one run's row in the table.

    Args:
        names: MLflow names of the metrics to show.
        group: group of comparable scores that the run belongs to.
        label: letter of this group, or letters of the groups with which the run is ranked.
    """
    tags = run.data.tags
    return [
        run.info.run_name,
        label,
        *(run.data.metrics.get(name) for name in names),
        Term(kind_of(run)),
        tags.get("corpus", ""),
        group.shown,
        tags.get("seed"),
        run.info.run_id[:8],
    ]


def notes_on(labels: Mapping["Group", str], n_other: int) -> list[Cell]:
    """Return the notes below the table: a line per group, and the number of runs not shown.

    Args:
        labels: letter of each group.
        n_other: number of runs that are not finished.
    """
    notes: list[Cell] = [
        Code(Term(group.description), f"set {label}") for group, label in labels.items()
    ]
    if any(group.why for group in labels):
        notes.append(
            "An earlier release recorded test sets without languages: its runs stand apart where "
            "these cannot be found; lslm evaluate with the same command records them anew and "
            "asks no system."
        )
    if n_other:
        notes.append(f"Runs that are not finished and are not shown: {n_other:,}.")
    return notes


def brief(table: Table) -> Table:
    """Return the table for a terminal, which is narrow: without the columns `corpus` and `data`,
    whose content the notes repeat, and without `kind` and `seed` where they are the same for all.
    """
    names = [heading.name for heading in table.headings()]
    alike = {
        name
        for name, values in zip(names, zip(*table.rows, strict=True), strict=True)
        if len(set(map(str, values))) == 1
    }
    dropped = {"corpus", "data", *(alike & {"kind", "seed"})}
    kept = [i for i, name in enumerate(names) if name not in dropped]
    return replace(
        table,
        columns=[table.columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
    )


def runs_of(experiment: str) -> tuple[list["MlflowRun"], int]:
    """Return the finished runs of an MLflow experiment, newest first, and the number of runs that
    are not finished.
    """
    store = Store()
    check_exists(store.file)
    client = store.client()
    found = store.request(lambda: client.get_experiment_by_name(experiment))
    if found is None:
        known = ", ".join(sorted(e.name for e in store.request(client.search_experiments)))
        raise ValueError(f"MLflow at {store} has no experiment {experiment!r}; it has {known}")

    store.request(lambda: end_lost_runs(client, [found.experiment_id]))

    def pages() -> Iterator["MlflowRun"]:
        token: str | None = ""
        while token is not None:
            search = partial(
                client.search_runs,
                [found.experiment_id],
                max_results=PAGE,
                page_token=token or None,
            )
            page = store.request(search)
            yield from page
            token = page.token

    runs = list(pages())
    finished = [run for run in runs if run.info.status == "FINISHED"]
    return finished, len(runs) - len(finished)


def on_record(run: "MlflowRun", name: str) -> JsonObject:
    """Return the entry for a metric from the run's MLflow tag `scores`; empty if there is none.

    Args:
        name: MLflow name of the metric, `test/<metric>`.
    """
    try:
        scores: JsonObject = json.loads(run.data.tags.get("scores", "{}"))
        found: JsonObject = scores.get(name.rpartition("/")[2], {})
        return found
    except ValueError:
        return {}


@dataclass(frozen=True)
class Group:
    """Group of comparable scores: one evaluation set and one metric signature."""

    key: tuple[str, ...]  # of the evaluation set
    signature: str
    shown: str = field(compare=False)  # its digest with the version, as tables show it
    about: str = field(compare=False)  # the corpus and the languages of one of the runs
    why: str = field(compare=False, default="")  # why it is not known exactly

    @property
    def description(self) -> str:
        """Description of the group, shown below the table."""
        digest = f"digest {self.shown or 'unknown'}{f' ({self.why})' if self.why else ''}"
        return f"{self.about}, {digest}, {self.signature or 'signature unknown'}"


def group_of(run: "MlflowRun", name: str, known: dict[str, TaskData]) -> Group:
    """Return the group of comparable scores that one score of an MLflow run belongs to.

    The evaluation set is identified by the digest in the run's tags, or else in its MLflow data
    set. Earlier releases recorded only a digest of files. For their runs the set is determined from
    the run directory or, if that is not possible, from the data parameters recorded in MLflow.

    Args:
        name: MLflow name of the metric.
        known: cache of data modules, see `evaluation_sets.opened`.
    """
    split = "val" if name.startswith("val/") else "test"
    tags = run.data.tags
    params = run.data.params
    corpus = tags.get("corpus", "unknown corpus")
    languages = tags.get(f"corpus.{split}_languages", "")
    scored = on_record(run, name)
    signature = comparable_signature(scored.get("signature", ""))
    limited = () if split == "test" else (n_validation_example(params),)
    digest = tags.get(f"corpus.{split}_digest") or digest_of_input(run, split)
    if digest and version_of(digest) > 1:
        return Group((digest, *limited), signature, shown(digest), f"{corpus} {languages}".strip())
    if split == "test" and (found := set_of_directory(tags.get("lslm.directory", ""), known)):
        return Group((found.digest,), signature, shown(found.digest), f"{corpus} {found.languages}")
    asked = {
        key.rpartition(".")[2]: value
        for key, value in sorted(params.items())
        if key.startswith("data.") and decides(key)
    }
    if digest and any(key.startswith("data.") for key in params):
        key = (corpus, digest, json.dumps(asked), str(scored.get("n_example", "")), *limited)
        stated = [value for name, value in asked.items() if "language" in name and value != "None"]
        return Group(
            key, signature, shown(digest), f"{corpus} {'-'.join(stated)}".strip(), "of files"
        )
    # those of one evaluation answered one set
    own = tags.get("mlflow.parentRunId", run.info.run_id)
    return Group(
        (own,), signature, shown(digest) if digest else "", corpus, "its languages are not known"
    )


def ranked_in(groups: Collection[Group]) -> dict[Group, list[Group]]:
    """Return, for each group, the groups in which its scores are ranked: itself or, if the scores
    have no windows, those that differ in nothing but their windows.
    """
    windowed: dict[tuple[tuple[str, ...], str], list[Group]] = {}
    for group in groups:
        if group.signature != (without := without_windows(group.signature)):
            windowed.setdefault((group.key, without), []).append(group)
    return {group: windowed.get((group.key, group.signature), [group]) for group in groups}


def n_validation_example(params: Mapping[str, str]) -> str:
    """Return, as text, the number of validation examples that a run generates answers for.

    Args:
        params: MLflow parameters of the run.
    """
    default = str(inspect.signature(TaskData).parameters["n_validation_example"].default)
    return (
        params.get("n_validation_example")
        or params.get("data.init_args.n_validation_example")
        or default
    )


def decides(parameter: str) -> bool:
    """Return whether a data parameter selects which texts of a corpus are used (languages, columns
    or references).
    """
    return any(word in parameter for word in ("language", "columns", "reference"))


def digest_of_input(run: "MlflowRun", split: str) -> str:
    """Return the digest of the MLflow data set that a run logged for a split; "" if there is
    none.
    """
    for each in getattr(getattr(run, "inputs", None), "dataset_inputs", None) or []:
        tags = {str(tag.key): str(tag.value) for tag in each.tags}
        if tags.get("mlflow.data.context") == split:
            return tags.get("digest", "")
    return ""


def set_of_directory(path: str, known: dict[str, TaskData]) -> EvaluationSet | None:
    """Return the evaluation set of the run in a directory; None if it cannot be determined.

    For the parent run of several seeds, it is the evaluation set of the first seed.

    Args:
        path: run directory.
        known: cache of data modules, see `evaluation_sets.opened`.
    """
    folder = Path(path)
    if not path or not folder.is_dir():
        return None
    for each in (folder, *sorted(folder.parent.glob(f"{folder.name}-seed-*"))):
        try:
            return find_set(RunDirectory(each), known, trust=False).found
        except (ValueError, OSError):  # it has no scores of its own
            continue
    return None


def kind_of(run: "MlflowRun") -> str:
    """Return a text that says how the scores of a run were obtained, such as "run", "evaluated, 2
    shots" or "mean of 3 seeds".
    """
    tags = run.data.tags
    if "system" in tags:
        n = int(tags.get("n_shot", "0"))
        return f"evaluated, {n} shot{'s' if n > 1 else ''}" if n else "evaluated"
    return f"mean of {tags['seeds']} seeds" if "seeds" in tags else tags.get("command", "")


def letters(number: int) -> str:
    """Return the spreadsheet-style label of a number that counts from 0: A, B, ..., Z, AA, AB,
    ...
    """
    first, last = divmod(number, 26)
    return (letters(first - 1) if first else "") + ascii_uppercase[last]


def lower_is_better(name: str, runs: Sequence["MlflowRun"]) -> bool:
    """Return whether lower values of a metric are better, according to the runs' records or else to
    the metric's name.

    Args:
        name: MLflow name of the metric.
    """
    known = [
        found["higher_is_better"]
        for run in runs
        if "higher_is_better" in (found := on_record(run, name))
    ]
    if known:
        return not known[0]
    last = name.rpartition("/")[2]
    lower = ("loss", "ter", "wer", "cer", "bits_per_byte", "nats_per_token", "seconds")
    return (
        last in lower
        or "perplexity" in last
        or last.endswith("_deviation")
        or name.startswith("cost/")
    )
