"""Finished runs on one page."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

from lslm_lightning.commands.records import seen_in_training, timing, trained, training_flops, versions
from lslm_lightning.contracts import Example, Prediction, Score
from lslm_lightning.evaluation.comparison import ANSWERING
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.results import Entry, Results, conclude
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.evaluation.seeds import compare_seeds
from lslm_lightning.reports.blocks import Cell, Heading, Interval, Measure, Report, Section, Table, Text
from lslm_lightning.reports.evaluation import SIGNIFICANT, choice, doubts, ladder, lead, outputs, parts_of_the_exam, to_repeat
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.reports.trained import training_sections
from lslm_lightning.runs import RunDirectory, find_run
from lslm_lightning.runs.loading import read_config
from lslm_lightning.runs.trust import check_trust, resolve
from lslm_lightning.systems.secrets import redacted


@dataclass(frozen=True)
class Finished:
    """A run that was tested."""

    name: str
    directory: RunDirectory
    config: dict[str, Any]
    scores: list[Score]
    data: dict[str, str]  # corpus, split, digest
    group: str  # of runs that differ in their seed

    @property
    def headline_scores(self) -> dict[str, Score]:
        return {score.metric: score for score in self.scores}


def open_run(reference: str) -> list[Finished]:
    """The run, or the children of a parent of seeds.

    Raises:
        ValueError: it was not tested.
    """
    directory = find_run(reference)
    record = json.loads(directory.metrics.read_text("utf-8")) if directory.metrics.exists() else {}
    if "summary" in record:  # of seeds
        children = sorted(path.parent for path in directory.path.parent.glob(f"{directory.path.name}-seed-*/metrics.json"))
        return [child for path in children for child in open_one(RunDirectory(path), directory.path.name)]
    return open_one(directory, directory.path.name)


def open_one(directory: RunDirectory, group: str) -> list[Finished]:
    """One run, as a list of one; ValueError where it was not tested."""
    if not directory.metrics.exists():
        raise ValueError(f"{directory.path} has no metrics.json: it was not tested; lslm test --config {directory.config} --ckpt_path ...")
    data = json.loads(directory.metrics.read_text("utf-8")).get("data", {})
    return [Finished(directory.path.name, directory, read_config(directory.config), read_scores(directory.metrics), data, group)]


def side_by_side(references: Sequence[str], metric: str | None, trust: bool, n_resample: int, command: str) -> tuple[Table, Report, str]:
    """The table of scores, the report, and the task.

    Raises:
        ValueError: a run is missing, was not tested, or is of another task.
    """
    runs = [run for reference in references for run in open_run(reference)]
    if len({run.directory.path.resolve() for run in runs}) < len(runs):
        raise ValueError("a run is named twice; give each once, and a parent of seeds without its children")
    tasks = {run.directory.path.parent.name for run in runs}
    if len(tasks) > 1:
        raise ValueError(f"runs are of different tasks, {', '.join(sorted(tasks))}: their scores mean different things")
    for run in runs if not trust else []:
        check_trust(run.config["model"])
        check_trust(run.config["data"])
    task = resolve(runs[0].config["model"]["class_path"])
    headline = (metric or task.headline).rpartition("/")[2]
    if not all(headline in run.headline_scores for run in runs):
        known = ", ".join(runs[0].headline_scores)
        raise ValueError(f"--metric {metric or headline}: not every run was scored by it; there are {known}")
    together, apart = same_data(runs)
    exam = open_exam(together[0]) if len(together) > 1 else None
    answered = answers(together, exam.examples) if exam else {}
    apart |= {run.name: "what it answered is not on this disk, or not all of it" for run in together if exam and run.name not in answered}
    scores = ScoreTable({run.name: run.scores for run in runs})
    histories = [trained(run.directory, run.name) for run in runs]
    sections: list[Section | None]
    words = ""
    if exam is None or len(answered) < 2:
        why = [f"{name}: {reason}" for name, reason in apart.items()] or ["the corpus is not on this disk"]
        sections = [Section("Scores", [scores, *(Text(f"No paired tests: {reason}.") for reason in why)])]
        sections += training_sections(histories, headline)
    else:
        metrics = task.metrics(exam.examples[0].language)
        texts, found = seen_in_training(exam.data, exam.examples)
        entries = [entry(run, answered[run.name]) for run in together if run.name in answered]
        results = conclude(exam.examples, entries, metrics, headline, texts, found, n_resample)
        ranked = [run for run in runs if run.name in answered]
        sections = [ladder(results, metrics), not_ranked([run for run in runs if run.name in apart], apart)]
        sections += [seeds(ranked, results, metrics, n_resample), doubts(results), choice(results, metrics)]
        sections += [parts_of_the_exam(results, metrics), *training_sections(histories, headline)]
        sections += task.sections_of(exam.data, "test", answered)
        sections.append(outputs(results, exam.examples, metrics))
        words = lead(results, metrics)
    data = together[0].data
    facts: dict[str, Cell] = {"Runs": len(runs), "Corpus": data.get("corpus"), "Digest of the data": data.get("digest")}
    facts |= {f"{run.name} began": began(run.directory) for run in runs}
    configs = {run.name: redacted(run.directory.config.read_text("utf-8")) for run in runs}
    sections.append(to_repeat(redacted(command), facts, configs, versions()))
    groups = list(dict.fromkeys(run.group for run in runs))
    title = " against ".join(groups) if len(groups) < 3 else f"{groups[0]} and {len(groups) - 1} others"
    kicker, date = tasks.pop(), time.strftime("%Y-%m-%d %H:%M")
    return scores.table(), Report(title, [s for s in sections if s], words, kicker.replace("_", " ").capitalize(), date), kicker


def same_data(runs: Sequence[Finished]) -> tuple[list[Finished], dict[str, str]]:
    """The runs tested on the data that most were tested on, and why the others stand apart, by name."""
    kinds = [(run.data.get("corpus"), run.data.get("digest")) for run in runs]
    most = max(kinds, key=kinds.count)  # the first of equals
    together = [run for run, kind in zip(runs, kinds, strict=True) if kind == most]
    words = [f"{corpus} (digest {digest[:8]})" if corpus and digest else "data that are not on record" for corpus, digest in kinds]
    usual = words[kinds.index(most)]
    apart = {run.name: f"tested on {own}, others on {usual}" for run, own, kind in zip(runs, words, kinds, strict=True) if kind != most}
    return together, apart


def not_ranked(runs: Sequence[Finished], reasons: Mapping[str, str]) -> Section | None:
    """Runs that cannot stand in the tests, as they are on record."""
    if not runs:
        return None
    scores = ScoreTable({run.name: run.scores for run in runs})
    return Section("Not ranked", [scores, *(Text(f"{run.name}: {reasons[run.name]}.") for run in runs)])


class Exam(NamedTuple):
    """What the runs were asked."""

    data: Any
    examples: list[Example]


def open_exam(run: Finished) -> Exam | None:
    """The exam of a run's test, with its tokenizer; None where the corpus is not here, or is another one by now."""
    from jsonargparse import ArgumentParser

    from lslm_lightning.text.recipes import Existing
    from lslm_lightning.training.data import TaskData

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskData, "data", fail_untyped=False)
    data = parser.instantiate(parser.parse_object({"data": run.config["data"]})).data
    data.recipe = Existing(str(run.directory.tokenizer))
    try:
        examples = data.examples("test")
    except (ValueError, OSError):
        return None
    return Exam(data, examples) if run.data.get("digest") in (None, data.corpus.digest("test")) else None


def answers(runs: Sequence[Finished], examples: Sequence[Example]) -> dict[str, list[Prediction]]:
    """What each run wrote for these examples, in their order; not of a run whose answers are not here, or were cut short."""
    found = {}
    for run in runs:
        path = run.directory.predictions / "test.jsonl"
        by_id = {p.id: p for p in read_predictions(path)} if path.exists() else {}
        if all(e.id in by_id for e in examples):
            found[run.name] = [by_id[e.id] for e in examples]
    return found


def entry(run: Finished, predictions: Sequence[Prediction]) -> Entry:
    """A run as a system of the exam. What its signatures say of its way of answering is as it was."""
    size = n_parameter(run.directory)
    facts = timing(predictions) | ({"n_parameter": size} if size else {}) | training_flops(run.directory, size)
    parts = dict.fromkeys(part for score in run.scores for part in score.signature.split("|") if part.split(":")[0] in ANSWERING)
    return Entry(run.name, predictions, recorded=run.headline_scores, signature="|".join(parts), facts=facts)


def n_parameter(directory: RunDirectory) -> int | None:
    """As the run noted it when training began; None where it did not."""
    lines = directory.curves.read_text("utf-8").splitlines() if directory.curves.exists() else []
    found = [json.loads(line)["value"] for line in lines if '"model/parameters"' in line and line.endswith("}")]
    return int(found[0]) if found else None


def began(directory: RunDirectory) -> str | None:
    """When, and from which commit."""
    noted = directory.beginning
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(noted["began"])) if "began" in noted else ""
    commit = f"commit {noted['git.commit']}" if noted.get("git.commit") else ""
    changed = "and uncommitted changes" if noted.get("git.dirty") == "true" else ""
    return " ".join(part for part in (date, commit, changed) if part) or None


def seeds(runs: Sequence[Finished], results: Results, metrics: Sequence[Any], n_resample: int) -> Section | None:
    """Two groups of seeds or more, with the noise of training in mind."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run.name)
    several = {group: names for group, names in groups.items() if len(names) > 1}
    if not several:
        return None
    metric = {m.name: m for m in metrics}[results.headline]
    values = {group: [results.scores[name][metric.name].value for name in names] for group, names in several.items()}
    rows: list[list[Cell]] = [[group, len(v), fmean(v), stdev(v)] for group, v in values.items()]
    blocks: list[object] = [Table(["recipe", "seeds", Heading(f"mean {metric.name}"), "deviation"], rows)]
    pairs: list[list[Cell]] = []
    for first, second in combinations(several, 2):
        sides = [[results.scores[name].rows[metric.name] for name in several[group]] for group in (first, second)]
        found = compare_seeds(metric, *sides, n_resample)
        difference = Measure(found.difference, Interval(found.low, found.high), best=found.p < SIGNIFICANT)
        pairs.append([f"{first} − {second}", difference, found.p, found.test_deviation, found.training_deviation])
    if pairs:
        columns = ["recipes", f"difference in {metric.name}", "p", "deviation from test examples", "deviation from seeds"]
        note = "Welch's t test on the sum of both variances: whether the recipes differ, not only these runs."
        blocks.append(Table(columns, pairs, "Recipes, over seeds", [note]))
    return Section("Over seeds", blocks)
