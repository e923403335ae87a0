"""Evaluation of a run on its test split, compared with the baselines of its task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table
from rich.text import Text

from lslm_lightning.contracts import Example, Generator, Metric, Mode, Prediction, metric_label
from lslm_lightning.evaluation.buckets import standard_buckets
from lslm_lightning.evaluation.comparison import THIS, Pair, compare_with_others
from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.evaluation.harness import method_of
from lslm_lightning.evaluation.results import Entry, Results
from lslm_lightning.evaluation.scoring import Scores, score
from lslm_lightning.localization import Term
from lslm_lightning.metrics.resampling import INTERVAL_RESAMPLES
from lslm_lightning.reports.conclusion import NOTHING, Conclusion
from lslm_lightning.reports.evaluation import conclusion_on
from lslm_lightning.reports.formatting import counted, number
from lslm_lightning.reports.scores import heading_of
from lslm_lightning.reports.terminal import show_conclusion, show_findings
from lslm_lightning.reports.words import named, words
from lslm_lightning.safety.terminal import console
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.display import Display
from lslm_lightning.training.task import Task


@dataclass(frozen=True)
class RunEvaluation:
    """Test scores of a run and of its baselines.

    Args:
        results: results for the run, under the name `THIS`, and its baselines.
        own: scores of the run.
        baselines: scores of the baselines, by name.
        recorded: recorded facts about the test set, see `TaskData.recorded`.
    """

    results: Results
    own: Scores
    baselines: Mapping[str, Scores]
    recorded: Mapping[str, str]

    @property
    def conclusion(self) -> Conclusion:
        """Conclusion from the paired tests against the baselines."""
        if not self.results.headline:
            return NOTHING
        return conclusion_on(THIS, self.results, self.baselines)

    def with_outputs(
        self,
        examples: Sequence[Example],
        predictions: Sequence[Prediction],
        metrics: Sequence[Metric],
    ) -> Results:
        """Return the results with the outputs of the run, and with breakdowns of the headline
        metric if it wrote texts.

        Args:
            examples: test examples, in the order of the scores.
            predictions: answers of the run, in any order.
            metrics: metrics that the run was scored with.
        """
        entries = {**self.results.entries, THIS: Entry(THIS, predictions)}
        metric = headline_of(metrics, self.results.headline)
        if metric is None or all(p.output is None for p in predictions):
            return replace(self.results, entries=entries)
        scores = {THIS: self.own, **self.baselines}
        rows = {
            name: found.rows[metric.name]
            for name, found in scores.items()
            if np.isfinite(found.rows[metric.name]).all()
        }
        buckets = standard_buckets(examples, metric, rows) if rows else []
        return replace(self.results, entries=entries, buckets=buckets)

    def show(self, title: str) -> None:
        """Print the conclusion, the table of scores and failed sanity checks to the terminal.

        Args:
            title: title of the table.
        """
        show_conclusion(self.conclusion.sentences)
        console().print(self.table(title))
        self.show_signatures()
        show_findings(self.results.findings)

    def table(self, title: str) -> Table:
        """Return a table of scores for the terminal: one row per metric, one column per system."""
        has_interval = any(each.low is not None for each in self.own.scores)
        table = Table(title=Text(title), title_justify="left")
        table.add_column(words("metric"), overflow="fold")
        own = [words(THIS), *([words("95 % interval")] if has_interval else [])]
        for heading in (*own, *map(named, self.baselines)):
            table.add_column(Text(heading), overflow="fold", justify="right")
        for each in self.own.scores:
            arrow = "↑" if each.higher_is_better else "↓"
            unit = heading_of(each).shown_unit
            bounds = "" if each.low is None else f"{number(each.low)} to {number(each.high)}"
            bounds = words(bounds)
            others = [number(found[each.metric].value) for found in self.baselines.values()]
            table.add_row(
                Text(f"{words(metric_label(each.metric))} {arrow} {words(unit)}".strip()),
                Text(number(each.value), "bold"),
                *map(Text, [*([bounds] if has_interval else []), *others]),
            )
        return table

    def show_signatures(self) -> None:
        """Print the signature of each score and the digest of the test set."""
        lines = [
            f"{metric_label(each.metric)}: {each.signature}, {counted(each.n_example, 'example')}"
            for each in self.own.scores
        ]
        for line in [*lines, digest_line(self.recorded)]:
            console().print(Text(words(line), "dim"), soft_wrap=True)


def evaluate_run(
    own: Scores,
    baselines: Mapping[str, Scores],
    metrics: Sequence[Metric],
    headline: str,
    findings: Sequence[Finding] = (),
    recorded: Mapping[str, str] | None = None,
) -> RunEvaluation:
    """Compare the scores of a run with those of its baselines by paired tests.

    If the run is better than its baselines in the headline metric, the other metrics are tested
    too, because the conclusion names the metrics in which the run is worse.

    Args:
        own: scores of the run.
        baselines: scores of the baselines, by name.
        metrics: metrics that the run was scored with.
        headline: name of the headline metric; if `metrics` lacks it, the first metric is used.
        findings: failed sanity checks.
        recorded: recorded facts about the test set, see `TaskData.recorded`.
    """
    leading = headline_of(metrics, headline)
    results = Results(
        leading.name if leading else "",
        {name: Entry(name) for name in (THIS, *baselines)},
        {THIS: own, **baselines},
        compared_with(leading, own, baselines) if leading else [],
        refusals=[],
        findings=findings,
        buckets=[],
    )
    if leading and conclusion_on(THIS, results, baselines).outcome == "better":
        others = [
            pair
            for metric in metrics
            if metric is not leading
            for pair in compared_with(metric, own, baselines)
        ]
        results = replace(results, pairs=[*results.pairs, *others])
    return RunEvaluation(results, own, baselines, recorded or {})


def headline_of(metrics: Sequence[Metric], name: str) -> Metric | None:
    """Return the metric called `name`, or the first metric if there is none of this name; None if
    `metrics` is empty.
    """
    return next((metric for metric in metrics if metric.name == name), next(iter(metrics), None))


def compared_with(metric: Metric, own: Scores, baselines: Mapping[str, Scores]) -> list[Pair]:
    """Compare a run with each of its baselines in one metric, by paired tests over the examples.

    Args:
        own: scores of the run.
        baselines: scores of the baselines, by name.
    """
    others = {name: scores.rows[metric.name] for name, scores in baselines.items()}
    return compare_with_others(metric, own.rows[metric.name], others)


def baseline_scores(
    task: Task,
    data: TaskData,
    metrics: Sequence[Metric],
    n_resample: int = INTERVAL_RESAMPLES,
    display: Display | None = None,
) -> dict[str, Scores]:
    """Score the task's baselines on the test split; return the scores by name.

    Args:
        metrics: metrics of the test, so that each score of the run has one of each baseline beside
            it.
        n_resample: number of resamples for confidence intervals.
        display: progress display; None for no display.
    """
    display = display or Display(shown=False)
    examples = data.examples("test")
    found: dict[str, Scores] = {}
    for system in map(as_system, task.report.baselines(data)):
        mode: Mode = "generate" if isinstance(system, Generator) else "log_prob"
        predictions = method_of(system, mode)(examples)
        title = f"baseline {system.name}:"
        answers = list(display.each(title, predictions, len(examples), "answers"))
        found[Term(system.name)] = score(examples, answers, metrics, n_resample)
    return found


def digest_line(data: Mapping[str, str]) -> str:
    """Return a line with the split, corpus, languages and digest of a data set.

    Args:
        data: recorded facts about the data set, see `TaskData.recorded`.
    """
    split, corpus, digest = data["split"], data["corpus"], shown(data["digest"])
    if languages := data.get("languages"):
        return f"{split} split of {corpus}, {languages}: digest {digest}"
    return f"{split} split of {corpus}: digest {digest}"
