"""Comparison of finished runs: scores, paired tests and a report, computed from recorded
predictions.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

from lslm_lightning.contracts import Example, Metric, Prediction, Score, metric_key, metric_label
from lslm_lightning.evaluation.comparison import ANSWERING, SIGNIFICANT
from lslm_lightning.evaluation.doctor import Finding
from lslm_lightning.evaluation.evaluation_set import (
    EvaluationSet,
    difference,
    evaluation_set,
    shown,
)
from lslm_lightning.evaluation.results import Entry, Results, conclude
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.evaluation.seeds import compare_seeds
from lslm_lightning.experiments.evaluation_sets import (
    FoundSet,
    data_of,
    examples_of,
    find_set,
    opened,
    paired,
)
from lslm_lightning.experiments.leaderboard import letters
from lslm_lightning.experiments.run_records import (
    seen_in_training,
    timing,
    trained,
    training_flops,
    versions,
)
from lslm_lightning.metrics.names import metrics_at
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Heading,
    Measure,
    Report,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.conclusion import NOTHING
from lslm_lightning.reports.evaluation import (
    choice,
    doubts,
    ladder,
    lead,
    outputs,
    parts_of_the_exam,
    to_repeat,
)
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.reports.trained import training_sections
from lslm_lightning.runs import RunDirectory, find_run
from lslm_lightning.runs.loading import read_config, without_extra_metrics
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import check_trust, only_trusted, resolve
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.training.data import TaskData


@dataclass(frozen=True)
class Finished:
    """A finished, tested run with its configuration and its recorded scores."""

    name: str
    directory: RunDirectory
    config: dict[str, Any]
    scores: list[Score]
    data: dict[str, str]  # corpus, split, digest, as they are on record
    group: str  # of runs that differ in their seed

    @property
    def headline_scores(self) -> dict[str, Score]:
        return {score.metric: score for score in self.scores}


def open_run(reference: str) -> list[Finished]:
    """Read the finished run that `reference` names; for a parent of several seeds, read each child.

    Raises:
        ValueError: it was not tested.
    """
    directory = find_run(reference)
    record = json.loads(directory.metrics.read_text("utf-8")) if directory.metrics.exists() else {}
    if "summary" in record:  # of seeds
        children = sorted(
            path.parent
            for path in directory.path.parent.glob(f"{directory.path.name}-seed-*/metrics.json")
        )
        return [
            child
            for path in children
            for child in open_one(RunDirectory(path), directory.path.name)
        ]
    return open_one(directory, directory.path.name)


def open_one(directory: RunDirectory, group: str) -> list[Finished]:
    """Read one finished run and return it in a list."""
    if not directory.metrics.exists():
        raise ValueError(
            f"{directory.path} has no metrics.json: it was not tested; lslm test --config "
            f"{directory.config} --ckpt_path ..."
        )
    data = json.loads(directory.metrics.read_text("utf-8")).get("data", {})
    return [
        Finished(
            directory.path.name,
            directory,
            read_config(directory.config),
            read_scores(directory.metrics),
            data,
            group,
        )
    ]


def side_by_side(
    references: Sequence[str],
    metric: str | None,
    trust: bool,
    n_resample: int,
    command: str,
    choices: Mapping[str, str] | None = None,
) -> tuple[Table, Report, str, Sequence[Finding]]:
    """Return the table of scores, the report, the name of the task and the failed sanity checks of
    a comparison of finished runs.

    Args:
        choices: by pattern, which run it stands for, in words.

    Raises:
        ValueError: a run is missing, was not tested, or is of another task.
    """
    with nullcontext() if trust else only_trusted():
        return compared(references, metric, trust, n_resample, command, choices)


def compared(
    references: Sequence[str],
    metric: str | None,
    trust: bool,
    n_resample: int,
    command: str,
    choices: Mapping[str, str] | None,
) -> tuple[Table, Report, str, Sequence[Finding]]:
    """Compare finished runs as `side_by_side` does, within the trust settings that are active
    now.
    """
    runs = [run for reference in references for run in open_run(reference)]
    if len({run.directory.path.resolve() for run in runs}) < len(runs):
        raise ValueError(
            "a run is named twice; give each once, and a parent of seeds without its children"
        )
    if twice := [name for name, n in Counter(run.name for run in runs).items() if n > 1]:
        raise ValueError(
            f"two runs are called {twice[0]}: rename the folder of one, since a table knows them "
            "by their names"
        )
    tasks = {run.directory.path.parent.name for run in runs}
    if len(tasks) > 1:
        raise ValueError(
            f"runs are of different tasks, {', '.join(sorted(tasks))}: their scores mean "
            "different things"
        )
    for run in runs:
        if trust:
            add_working_directory(run.config)
        else:
            check_trust(without_extra_metrics(run.config["model"]))
            check_trust(run.config["data"])
    task = resolve(runs[0].config["model"]["class_path"])
    headline = metric_key((metric or task.headline).rpartition("/")[2], runs[0].headline_scores)
    if not all(headline in run.headline_scores for run in runs):
        known = ", ".join(runs[0].headline_scores)
        raise ValueError(
            f"--metric {metric or headline}: not every run was scored by it; there are {known}"
        )
    known: dict[str, TaskData] = {}
    tested = {run.name: find_set(run.directory, known, trust) for run in runs}
    together, apart = same_set(runs, tested)
    others = list(apart)
    asked = None if len(together) < 2 else open_set(together, tested[together[0].name].found, known)
    answered = answers(together, tested, asked, known) if asked else {}
    unpaired = [run.name for run in together if asked and run.name not in answered]
    apart |= dict.fromkeys(unpaired, "what it answered is not on this disk, or not all of it")
    scores = ScoreTable({run.name: run.scores for run in runs}, apart=others)
    histories = [trained(run.directory, run.name) for run in runs]
    sections: list[Section | None]
    conclusion = NOTHING
    findings = []
    if asked is None or len(answered) < 2:
        why = [f"{name}: {reason}" for name, reason in apart.items()] or [
            "the corpus is not on this disk"
        ]
        sections = [
            Section("Scores", [scores, *(Text(f"No paired tests: {reason}.") for reason in why)])
        ]
        sections += training_sections(histories, headline)
    else:
        metrics = [*task.metrics(asked.examples[0].language), *extra_metrics(together, trust)]
        texts, found = seen_in_training(asked.data, asked.examples)
        entries = [entry(run, answered[run.name]) for run in together if run.name in answered]
        results = conclude(asked.examples, entries, metrics, headline, texts, found, n_resample)
        if failed := next((each for each in results.entries.values() if each.failed), None):
            raise ValueError(f"{failed.name}: {failed.reason}")
        ranked = [run for run in runs if run.name in answered]
        sections = [
            ladder(results, metrics),
            not_comparable([run for run in runs if run.name in apart], apart),
        ]
        sections += [
            seeds(ranked, results, metrics, n_resample),
            doubts(results),
            choice(results, metrics),
        ]
        sections += [parts_of_the_exam(results, metrics), *training_sections(histories, headline)]
        # of a part of the split these know nothing
        if len(asked.examples) == len(asked.data.examples("test")):
            sections += task.sections_of(asked.data, "test", answered)
        sections.append(outputs(results, asked.examples, metrics))
        conclusion = lead(results, metrics)
        findings = results.findings
    first = tested[together[0].name].found
    facts: dict[str, Cell] = {"Runs": len(runs), "Corpus": together[0].data.get("corpus")}
    facts |= {"Languages": first.languages, "Digest of the data": first.digest} if first else {}
    facts |= {f"Run of {pattern}": words for pattern, words in (choices or {}).items()}
    facts |= {f"Test set of {name}": each.note for name, each in tested.items() if each.note}
    facts |= {f"{run.name} began": began(run.directory) for run in runs}
    configs = {run.name: config_of(run) for run in runs}
    sections.append(to_repeat(redacted(command), facts, configs, versions()))
    groups = list(dict.fromkeys(run.group for run in runs))
    title = (
        " against ".join(groups) if len(groups) < 3 else f"{groups[0]} and {len(groups) - 1} others"
    )
    kicker = tasks.pop()
    date = time.strftime("%Y-%m-%d %H:%M")
    return (
        with_sets(scores.table(), runs, tested),
        Report(
            title,
            [s for s in sections if s],
            conclusion.summary,
            kicker.replace("_", " ").capitalize(),
            date,
            conclusion.details,
        ),
        kicker,
        findings,
    )


def config_of(run: Finished) -> str:
    """Return the config.yaml of a run as text without secrets, with the comment line that holds its
    command.
    """
    comment = run.directory.config.read_text("utf-8").partition("\n")[0]
    shown = dump_yaml(redacted_settings(run.config))
    return f"{redacted(comment)}\n{shown}" if comment.startswith("#") else shown


def same_set(
    runs: Sequence[Finished], tested: Mapping[str, FoundSet]
) -> tuple[list[Finished], dict[str, str]]:
    """Return the runs that were tested on the most frequent test set, and, by name, the reason why
    each other run is left out of the tests.
    """
    digests = [found.digest for run in runs if (found := tested[run.name].found)]
    if not digests:
        return [runs[0]], {run.name: tested[run.name].reason for run in runs[1:]}
    most = max(digests, key=digests.count)  # the first of equals
    together = [run for run in runs if (found := tested[run.name].found) and found.digest == most]
    usual = tested[together[0].name].found
    apart = {}
    for run in runs:
        found = tested[run.name].found
        if found is None:
            apart[run.name] = tested[run.name].reason
        elif found.digest != most:
            own, other = (
                f"{r.data.get('corpus')} {f.languages} (digest {shown(f.digest)})"
                for r, f in ((run, found), (together[0], usual))
            )
            apart[run.name] = f"tested on {own}, others on {other}: {difference(found, usual)}"
    return together, apart


def with_sets(table: Table, runs: Sequence[Finished], tested: Mapping[str, FoundSet]) -> Table:
    """Return the table of scores with a column for the test set, if the runs were tested on more
    than one.
    """
    sets: dict[str, list[Finished]] = {}
    for run in runs:
        found = tested[run.name].found
        sets.setdefault(found.digest if found else run.name, []).append(run)
    if len(sets) < 2:
        return table
    letter = {run.name: letters(i) for i, members in enumerate(sets.values()) for run in members}
    notes = []
    for members in sets.values():
        first = members[0]
        found = tested[first.name].found
        corpus = first.data.get("corpus") or "unknown corpus"
        text = (
            f"{corpus} {found.languages}, digest {shown(found.digest)}"
            if found
            else f"{corpus}, {tested[first.name].reason}"
        )
        notes.append(Code(text, f"test set {letter[first.name]}"))
    notes.append("Scores on different test sets do not compare.")
    rows = [[*row, letter[str(row[0])]] for row in table.rows]
    return replace(
        table, columns=[*table.columns, "test set"], rows=rows, notes=[*table.notes, *notes]
    )


def not_comparable(runs: Sequence[Finished], reasons: Mapping[str, str]) -> Section | None:
    """Build the section "Not comparable": scores of runs that take no part in paired tests, with
    the reason for each; None without such runs.
    """
    if not runs:
        return None
    scores = ScoreTable({run.name: run.scores for run in runs}, apart=[run.name for run in runs])
    return Section(
        "Not comparable", [scores, *(Text(f"{run.name}: {reasons[run.name]}.") for run in runs)]
    )


class Asked(NamedTuple):
    """Test examples that several runs share, with the data module that made them."""

    data: TaskData
    examples: list[Example]
    ids: str  # see `EvaluationSet.ids`


def open_set(
    runs: Sequence[Finished], wanted: EvaluationSet, known: dict[str, TaskData]
) -> Asked | None:
    """Load the examples of a test set from the corpus of the first run that still has it on this
    machine; None if none has.
    """
    from lslm_lightning.text.recipes import Existing

    for run in runs:
        data = data_here(run, known)
        examples = None if data is None else examples_of(run.directory, data, wanted)
        if examples is not None:
            whole = data_of(run.config["data"])
            whole.recipe = Existing(str(run.directory.tokenizer))
            return Asked(whole, examples, evaluation_set(examples).ids)
    return None


def data_here(run: Finished, known: dict[str, TaskData]) -> TaskData | None:
    """Return the data module of a run; None if its config cannot be read or its corpus is not on
    this machine.
    """
    try:
        return opened(run.config["data"], known)
    except (ValueError, OSError):
        return None


def answers(
    runs: Sequence[Finished],
    tested: Mapping[str, FoundSet],
    asked: Asked,
    known: dict[str, TaskData],
) -> dict[str, list[Prediction]]:
    """Return, by run name, the predictions that runs recorded for these examples, in their order;
    runs with missing predictions are left out.
    """
    found = {}
    for run in runs:
        own = tested[run.name].found
        data = None if own.ids == asked.ids else data_here(run, known)
        predictions = paired(run.directory, own, data, asked.examples, asked.ids)
        if predictions is not None:
            found[run.name] = predictions
    return found


def entry(run: Finished, predictions: Sequence[Prediction]) -> Entry:
    """Build the evaluation entry of a finished run from its recorded predictions, signature, size
    and cost.
    """
    size = n_parameter(run.directory)
    facts = (
        timing(predictions)
        | ({"n_parameter": size} if size else {})
        | training_flops(run.directory, size)
    )
    facts |= recorded_cuts(run)
    parts = dict.fromkeys(
        part
        for score in run.scores
        for part in score.signature.split("|")
        if part.split(":")[0] in ANSWERING
    )
    return Entry(
        run.name, predictions, recorded=run.headline_scores, signature="|".join(parts), facts=facts
    )


def extra_metrics(runs: Sequence[Finished], trust: bool = False) -> list[Metric]:
    """Return the metrics that every run's config lists under `model.extra_metrics`.

    Raises:
        ValueError: one is not trusted, since it may run code of others.
    """
    named = [
        (run.config["model"].get("init_args") or {}).get("extra_metrics") or [] for run in runs
    ]
    shared = [spec for spec in named[0] if all(spec in others for others in named)]
    if not trust:
        with only_trusted(training=True):
            check_trust(shared)
    return [m for spec in shared for m in metrics_at(spec["class_path"], spec.get("init_args"))]


def recorded_cuts(run: Finished) -> dict[str, str]:
    """Return the facts `limit` (the run's `max_length`) and `cut_sources` (truncated sources found
    in its test), as far as recorded.
    """
    longest = (run.config["model"].get("init_args") or {}).get("max_length")
    found = json.loads(run.directory.metrics.read_text("utf-8")).get("findings", [])
    cut = [finding["words"] for finding in found if finding["check"] == "cut sources"]
    return ({"limit": f"max_length={longest}"} if longest else {}) | (
        {"cut_sources": cut[0]} if cut else {}
    )


def n_parameter(directory: RunDirectory) -> int | None:
    """Return the number of model parameters that a run recorded when its training began; None if it
    did not.
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
    """Return date and git commit at the start of a run as text; None if neither was recorded."""
    noted = directory.beginning
    date = (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(noted["began"])) if "began" in noted else ""
    )
    commit = f"commit {noted['git.commit']}" if noted.get("git.commit") else ""
    changed = "and uncommitted changes" if noted.get("git.dirty") == "true" else ""
    return " ".join(part for part in (date, commit, changed) if part) or None


def seeds(
    runs: Sequence[Finished], results: Results, metrics: Sequence[Any], n_resample: int
) -> Section | None:
    """Build the section "Over seeds": mean, deviation and Welch's t test of groups of runs that
    differ in their seed; None without such groups.
    """
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run.name)
    several = {group: names for group, names in groups.items() if len(names) > 1}
    if not several:
        return None
    metric = {m.name: m for m in metrics}[results.headline]
    values = {
        group: [results.scores[name][metric.name].value for name in names]
        for group, names in several.items()
    }
    rows: list[list[Cell]] = [[group, len(v), fmean(v), stdev(v)] for group, v in values.items()]
    blocks: list[object] = [
        Table(["recipe", "seeds", Heading(f"mean {metric_label(metric.name)}"), "deviation"], rows)
    ]
    pairs: list[list[Cell]] = []
    for first, second in combinations(several, 2):
        sides = [
            [results.scores[name].rows[metric.name] for name in several[group]]
            for group in (first, second)
        ]
        found = compare_seeds(metric, *sides, n_resample)
        difference = Measure(
            found.difference, interval_of(found.low, found.high), best=found.p < SIGNIFICANT
        )
        pairs.append(
            [
                f"{first} − {second}",
                difference,
                found.p,
                found.test_deviation,
                found.training_deviation,
            ]
        )
    if pairs:
        columns = [
            "recipes",
            f"difference in {metric_label(metric.name)}",
            "p",
            "deviation from test examples",
            "deviation from seeds",
        ]
        note = (
            "Welch's t test on the sum of both variances: whether the recipes differ, not "
            "only these runs."
        )
        blocks.append(Table(columns, pairs, "Recipes, over seeds", [note]))
    return Section("Over seeds", blocks)
