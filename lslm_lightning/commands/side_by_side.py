"""Finished runs on one page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

from lslm_lightning.commands.records import timing, trained, training_flops, versions
from lslm_lightning.contracts import Example, Score
from lslm_lightning.evaluation.comparison import ANSWERING, differing_parts
from lslm_lightning.evaluation.contamination import contaminated
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
    reasons = differences_of_exams(runs)
    results, exam = (None, None) if reasons else paired(runs, task, headline, n_resample)
    scores = ScoreTable({run.name: run.scores for run in runs})
    histories = [trained(run.directory, run.name) for run in runs]
    if exam is None or results is None:
        why = reasons or ["what was answered is not on this disk, or the corpus is not"]
        sections: list[Section | None] = [Section("Scores", [scores, *(Text(f"No paired tests: {reason}.") for reason in why)])]
        sections += training_sections(histories, headline)
        words = ""
    else:
        metrics = task.metrics(exam.examples[0].language)
        sections = [ladder(results, metrics), seeds(runs, results, metrics, n_resample), doubts(results), choice(results, metrics)]
        sections += [parts_of_the_exam(results, metrics), *training_sections(histories, headline)]
        sections += task.sections_of(exam.data, "test", {name: e.predictions for name, e in results.entries.items()})
        sections.append(outputs(results, exam.examples, metrics))
        words = lead(results, metrics)
    facts: dict[str, Cell] = {"Runs": len(runs), "Corpus": runs[0].data.get("corpus"), "Digest of the data": runs[0].data.get("digest")}
    configs = {run.name: redacted(run.directory.config.read_text("utf-8")) for run in runs}
    sections.append(to_repeat(redacted(command), facts, configs, versions()))
    title = " against ".join(dict.fromkeys(run.group for run in runs))
    kicker = tasks.pop()
    return scores.table(), Report(title, [s for s in sections if s], words, kicker.replace("_", " ").capitalize()), kicker


def differences_of_exams(runs: Sequence[Finished]) -> list[str]:
    """Why the scores of these runs do not compare at all; those whose signatures alone differ are told apart by `conclude`."""
    first, found = runs[0], []
    for run in runs[1:]:
        if (first.data.get("corpus"), first.data.get("digest")) != (run.data.get("corpus"), run.data.get("digest")):
            found.append(f"{first.name} and {run.name} were tested on other data ({first.data.get('corpus')}, {run.data.get('corpus')})")
        for metric in first.headline_scores.keys() & run.headline_scores.keys():
            ours, theirs = first.headline_scores[metric], run.headline_scores[metric]
            parts = differing_parts(replace(ours, signature=kept(ours.signature)), replace(theirs, signature=kept(theirs.signature)))
            if parts:
                found.append(f"{metric} of {first.name} and {run.name} is not ranked: {'; '.join(parts)}")
    return found


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


def paired(runs: Sequence[Finished], task: type, headline: str, n_resample: int) -> tuple[Results | None, Exam | None]:
    """From what the runs wrote; nothing where predictions or the corpus are not here."""
    files = [run.directory.predictions / "test.jsonl" for run in runs]
    exam = open_exam(runs[0])
    if exam is None or not all(path.exists() for path in files):
        return None, None
    entries = []
    for run, path in zip(runs, files, strict=True):
        by_id = {p.id: p for p in read_predictions(path)}
        if not all(e.id in by_id for e in exam.examples):  # a test that was cut short
            return None, None
        predictions = [by_id[e.id] for e in exam.examples]
        size = n_parameter(run)
        facts = timing(predictions) | ({"n_parameter": size} if size else {}) | training_flops(run.directory, size)
        signature = answers_part(run.headline_scores[headline].signature)
        entries.append(Entry(run.name, predictions, signature=signature, facts=facts))
    known = exam.data.texts_at_hand
    found = None if known is None else contaminated(exam.examples, known)
    return conclude(exam.examples, entries, task.metrics(exam.examples[0].language), headline, known, found, n_resample), exam


def answers_part(signature: str) -> str:
    """What a signature says of the way of answering: "|context:256|stride:128"."""
    return "".join(f"|{part}" for part in signature.split("|") if part.split(":")[0] in ANSWERING)


def kept(signature: str) -> str:
    """A signature without that part."""
    return "|".join(part for part in signature.split("|") if part.split(":")[0] not in ANSWERING)


def n_parameter(run: Finished) -> int | None:
    """Numbers in its checkpoint; None where there is none."""
    import torch

    try:
        saved = torch.load(run.directory.checkpoint(), map_location="meta", weights_only=True)
    except (ValueError, OSError, RuntimeError):
        return None
    return sum(weight.numel() for weight in saved["state_dict"].values())


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
