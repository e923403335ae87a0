"""Comparison of finished runs, based on the predictions that they recorded."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from lslm_lightning.contracts import Metric, Prediction, metric_key
from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.evaluation.results import Results, compute_results
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.experiments.comparison_sections import (
    compare_recipes,
    not_comparable,
    recipes_lead,
    recipes_of,
    seeds_section,
    with_sets,
)
from lslm_lightning.experiments.evaluation_sets import find_set
from lslm_lightning.experiments.finished_runs import (
    Finished,
    began,
    config_text,
    entry,
    extra_metrics,
    open_run,
)
from lslm_lightning.experiments.run_records import seen_in_training, trained, versions
from lslm_lightning.experiments.shared_test_set import (
    SharedExamples,
    recorded_predictions,
    shared_examples,
    split_by_test_set,
)
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.metrics.human import HumanRatings
from lslm_lightning.reports.blocks import Cell, Report, Section, Table
from lslm_lightning.reports.composition import compose_report, details_section
from lslm_lightning.reports.conclusion import NOTHING
from lslm_lightning.reports.evaluation import lead
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.reports.trained import training_sections
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.loading import without_extra_metrics
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import check_trust, only_trusted, resolve
from lslm_lightning.safety.redaction import redacted
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task


class ComparedRuns(NamedTuple):
    """Result of a comparison of finished runs: table of scores, report, name of the task, and
    failed sanity checks.
    """

    scores: Table
    report: Report
    task_name: str
    findings: Sequence[Finding]  # of the sanity checks


def compare_runs(
    directories: Sequence[RunDirectory],
    metric: str | None,
    trust: bool,
    n_resample: int,
    command: str,
    choices: Mapping[str, str] | None = None,
    human: str | None = None,
) -> ComparedRuns:
    """Compare finished runs by their recorded predictions.

    Args:
        directories: directories of the runs.
        metric: metric to rank by; None for the headline metric of the task.
        trust: allow the configs of the runs to name any class.
        n_resample: number of resamples for confidence intervals and paired tests.
        command: command line to show in the report.
        choices: for each pattern that the user gave, a line of text that names the run it was
            resolved to.
        human: file of human ratings, which are shown as a metric.

    Raises:
        ValueError: a run is missing or was not tested, or the runs are of different tasks.
    """
    with nullcontext() if trust else only_trusted():
        runs = RunComparison(directories, metric, trust, n_resample, human)
        return runs.compare(command, choices or {})


class RunComparison:
    """Comparison of finished runs under the current trust settings.

    Args:
        directories: directories of the runs.
        metric: metric to rank by; None for the headline metric of the task.
        trust: whether the configs of the runs may name any class.
        n_resample: number of resamples for confidence intervals and paired tests.
        human: file of human ratings, which are one more metric.

    Attributes:
        together: runs that were tested on the same test set, so that paired tests can compare them.
        apart: for each of the other runs, by name, the reason why paired tests leave it out.
    """

    def __init__(
        self,
        directories: Sequence[RunDirectory],
        metric: str | None,
        trust: bool,
        n_resample: int,
        human: str | None = None,
    ) -> None:
        self.added: list[Metric] = [] if human is None else [HumanRatings(human)]
        self.runs = [run for directory in directories for run in open_run(directory)]
        self.trust = trust
        self.n_resample = n_resample
        self.task_name = check_together(self.runs)
        for run in self.runs:
            if trust:
                add_working_directory(run.config)
            else:
                check_trust(without_extra_metrics(run.config["model"]))
                check_trust(run.config["data"])
        self.task: type[Task] = resolve(self.runs[0].config["model"]["class_path"])
        self.headline = headline_of(self.runs, metric, self.task.headline)
        self.known: dict[str, TaskData] = {}
        self.tested = {run.name: find_set(run.directory, self.known, trust) for run in self.runs}
        self.together, self.apart = split_by_test_set(self.runs, self.tested)

    def compare(self, command: str, choices: Mapping[str, str]) -> ComparedRuns:
        """Compute scores, run paired tests if there are enough recorded predictions, and build the
        report.

        Args:
            command: command line to show in the report.
            choices: for each pattern that the user gave, a line of text that names the run it was
                resolved to.
        """
        names_apart = list(self.apart)
        shared, predictions = self.load_predictions() if len(self.together) > 1 else (None, {})
        recorded = {run.name: run.scores for run in self.runs}
        details = self.details(command, choices)
        findings: Sequence[Finding] = []
        if shared is None or len(predictions) < 2:
            report = self.report_without_tests(details, names_apart)
        else:
            report, results = self.report_with_tests(shared, predictions, details)
            findings = results.findings
            for name, own in results.scores.items():
                if own is not None:
                    recorded[name] = [*recorded[name], *(own[each.name] for each in self.added)]
        scores = ScoreTable(recorded, apart=names_apart)
        table = with_sets(scores.table(), self.runs, self.tested)
        return ComparedRuns(table, report, self.task_name, findings)

    def load_predictions(self) -> tuple[SharedExamples | None, dict[str, list[Prediction]]]:
        """Return the test examples that the runs share and the recorded predictions for them, by
        run name; None if no run has the examples on this machine.

        Runs whose predictions are missing are added to `apart`.
        """
        first = self.tested[self.together[0].name].found
        if first is None:
            return None, {}
        shared = shared_examples(self.together, first, self.known)
        if shared is None:
            return None, {}
        predictions = recorded_predictions(self.together, self.tested, shared, self.known)
        for run in self.together:
            if run.name not in predictions:
                self.apart[run.name] = "its predictions are not on this disk, or not all"
        return shared, predictions

    def metrics(self, language: str) -> list[Metric]:
        """Return the metrics of the task, those that the configs of all these runs add, and human
        ratings if they are given.

        Args:
            language: language of the references.
        """
        extra = extra_metrics(self.together, self.trust)
        return [*self.task.metrics(language), *extra, *self.added]

    def report_with_tests(
        self,
        shared: SharedExamples,
        predictions: Mapping[str, Sequence[Prediction]],
        details: Section,
    ) -> tuple[Report, Results]:
        """Score the recorded predictions; return the report and the results.

        Args:
            shared: test examples that the runs share.
            predictions: recorded predictions for these examples, by run name.
            details: section made by `details_section`.
        """
        ranked = [run for run in self.together if run.name in predictions]
        metrics = self.metrics(shared.examples[0].language)
        texts, contaminated = seen_in_training(shared.data, shared.examples)
        results = compute_results(
            shared.examples,
            [entry(run, predictions[run.name]) for run in ranked],
            metrics,
            self.headline,
            texts,
            contaminated,
            self.n_resample,
        )
        if failed := next((each for each in results.entries.values() if each.failed), None):
            raise ValueError(f"{failed.name}: {failed.reason}")
        of_task = []
        # the task's sections know nothing of a part of the split
        if len(shared.examples) == len(shared.data.examples("test")):
            of_task = self.task.report_class.comparison(shared.data, "test", predictions)
        apart = [run for run in self.runs if run.name in self.apart]
        headline = {metric.name: metric for metric in metrics}[results.headline]
        recipes = recipes_of(ranked, results)
        tests = compare_recipes(recipes, headline, self.n_resample)
        are_recipes = tests and sum(map(len, recipes.values())) == len(ranked)
        beside_scores = [
            not_comparable(apart, self.apart),
            seeds_section(recipes, headline, tests),
        ]
        report = compose_report(
            self.title,
            self.task_name,
            recipes_lead(recipes, headline, tests) if are_recipes else lead(results, metrics),
            results,
            details,
            shared.examples,
            metrics,
            beside_scores=[section for section in beside_scores if section],
            training=self.training_sections(),
            of_task=of_task,
            date=date(),
        )
        return report, results

    def report_without_tests(self, details: Section, apart: Sequence[str]) -> Report:
        """Build a report with recorded scores and training curves but without paired tests.

        Args:
            details: section made by `details_section`.
            apart: names of the runs that were tested on another test set.
        """
        why = [f"{name}: {reason}" for name, reason in self.apart.items()]
        results = Results(
            self.headline,
            entries={},
            scores={run.name: Scores(run.scores, [], {}) for run in self.runs},
            pairs=[],
            refusals=[
                f"No paired tests: {reason}" for reason in why or ["the corpus is not on this disk"]
            ],
            findings=[],
            buckets=[],
        )
        return compose_report(
            self.title,
            self.task_name,
            NOTHING,
            results,
            details,
            training=self.training_sections(),
            apart=apart,
            date=date(),
        )

    def training_sections(self) -> list[Section]:
        """Return the report sections on learning curves and on differences between the configs."""
        return training_sections(
            [trained(run.directory, run.name) for run in self.runs], self.headline
        )

    def details(self, command: str, choices: Mapping[str, str]) -> Section:
        """Return the report section "Run details": command, facts, configs and software versions.

        Args:
            command: command line to show in the report.
            choices: for each pattern that the user gave, a line of text that names the run it was
                resolved to.
        """
        first = self.tested[self.together[0].name].found
        corpus = self.together[0].data.get("corpus")
        facts: dict[str, Cell] = {"Runs": len(self.runs), "Corpus": corpus}
        if first:
            facts |= {"Languages": first.languages, "Digest of the data": first.digest}
        facts |= {f"Run of {pattern}": Term(line) for pattern, line in choices.items()}
        facts |= {
            f"Test set of {name}": Term(each.note)
            for name, each in self.tested.items()
            if each.note
        }
        facts |= {f"{run.name} began": began(run.directory) for run in self.runs}
        configs = {run.name: config_text(run) for run in self.runs}
        return details_section(facts, redacted(command), versions(), configs)

    @property
    def title(self) -> str:
        """Title of the report, made from the names of the runs."""
        groups = list(dict.fromkeys(run.group for run in self.runs))
        if len(groups) == 1:
            return Verbatim(groups[0])
        if len(groups) == 2:
            return " against ".join(groups)
        return f"{groups[0]} and {len(groups) - 1} others"


def check_together(runs: Sequence[Finished]) -> str:
    """Check that runs can be compared in one table, and return the name of their task.

    Raises:
        ValueError: a run is given twice, two runs have the same name, or the runs are of different
            tasks.
    """
    if len({run.directory.path.resolve() for run in runs}) < len(runs):
        raise ValueError(
            "a run is named twice; give each once, and a parent of seeds without its children"
        )
    if twice := [name for name, n in Counter(run.name for run in runs).items() if n > 1]:
        raise ValueError(
            f"two runs are called {twice[0]}: rename the folder of one, since the table names "
            "runs by their folders"
        )
    tasks = {run.directory.path.parent.name for run in runs}
    if len(tasks) > 1:
        raise ValueError(
            f"runs are of different tasks, {', '.join(sorted(tasks))}: their scores do not compare"
        )
    return tasks.pop()


def headline_of(runs: Sequence[Finished], metric: str | None, default: str) -> str:
    """Return the name of the metric to rank by.

    Args:
        metric: metric as typed by the user, such as "bleu" or "test/bleu"; None for `default`.
        default: headline metric of the task.

    Raises:
        ValueError: a run has no score for this metric.
    """
    headline = metric_key((metric or default).rpartition("/")[2], runs[0].by_metric)
    if not all(headline in run.by_metric for run in runs):
        known = ", ".join(runs[0].by_metric)
        raise ValueError(
            f"--metric {metric or headline}: not every run was scored by it; there are {known}"
        )
    return headline


def date() -> str:
    """Return the current date and time in the format of reports."""
    return time.strftime("%Y-%m-%d %H:%M")
