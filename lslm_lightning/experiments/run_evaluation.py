"""Test of a run: an evaluation of one checkpoint and the task's baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.table import Table
from rich.text import Text

from lslm_lightning.contracts import Generator, Metric, Mode, metric_label
from lslm_lightning.evaluation.comparison import THIS, Pair, compare_with_others
from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.evaluation.harness import method_of
from lslm_lightning.evaluation.results import Entry, Results
from lslm_lightning.evaluation.scoring import N_RESAMPLE, Scores, score
from lslm_lightning.reports.conclusion import NOTHING, Conclusion
from lslm_lightning.reports.evaluation import conclusion_on
from lslm_lightning.reports.formatting import counted, number
from lslm_lightning.reports.scores import heading_of
from lslm_lightning.reports.terminal import show_conclusion, show_findings
from lslm_lightning.safety.terminal import console
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.display import Display
from lslm_lightning.training.task import Task


@dataclass(frozen=True)
class RunEvaluation:
    """Scores of a run and its baselines on the test split.

    Args:
        own: scores of the run.
        baselines: their scores, by name.
        results: of all of them, the run under the name `THIS`; None without metrics.
        findings: of the sanity checks.
        recorded: record of the test set (`TaskData.recorded`).
    """

    own: Scores
    baselines: Mapping[str, Scores]
    results: Results | None
    findings: Sequence[Finding]
    recorded: Mapping[str, str]

    @property
    def conclusion(self) -> Conclusion:
        """Conclusion from the paired tests against the baselines, in sentences."""
        if self.results is None:
            return NOTHING
        return conclusion_on(THIS, self.results, self.baselines)

    @property
    def pairs(self) -> list[Pair]:
        """Paired tests against the baselines in the headline metric."""
        if self.results is None:
            return []
        return [pair for pair in self.results.pairs if pair.metric == self.results.headline]

    def show(self, title: str) -> None:
        """Print conclusion, table of scores and sanity checks to the terminal."""
        show_conclusion(self.conclusion.sentences)
        console().print(self.table(title))
        self.show_signatures()
        show_findings(self.findings)

    def table(self, title: str) -> Table:
        """Return a table for the terminal: a row for each metric, a column for each system."""
        has_interval = any(each.low is not None for each in self.own.scores)
        table = Table(title=Text(title), title_justify="left")
        interval = ["95 % interval"] if has_interval else []
        for heading in ("metric", THIS, *interval, *self.baselines):
            is_name = heading == "metric"
            table.add_column(Text(heading), overflow="fold", justify="left" if is_name else "right")
        for each in self.own.scores:
            arrow = "↑" if each.higher_is_better else "↓"
            unit = heading_of(each).shown_unit
            bounds = "" if each.low is None else f"{number(each.low)} to {number(each.high)}"
            others = [number(found[each.metric].value) for found in self.baselines.values()]
            table.add_row(
                Text(f"{metric_label(each.metric)} {arrow} {unit}".strip()),
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
            console().print(Text(line, "dim"), soft_wrap=True)


def evaluate_run(
    own: Scores,
    baselines: Mapping[str, Scores],
    metrics: Sequence[Metric],
    headline: str,
    findings: Sequence[Finding] = (),
    recorded: Mapping[str, str] | None = None,
) -> RunEvaluation:
    """Compare the scores of a run with those of its baselines by paired tests.

    Other metrics than the headline are tested where the run is better in that one, since the
    conclusion names those in which it is worse.

    Args:
        own: scores of the run.
        headline: name of the metric that leads; the first where there is none of this name.
        recorded: record of the test set (`TaskData.recorded`).
    """
    leading = headline_of(metrics, headline)
    results = None
    if leading is not None:
        names = [THIS, *baselines]
        results = Results(
            leading.name,
            {name: Entry(name) for name in names},
            {THIS: own, **baselines},
            compared_with(leading, own, baselines),
            refusals=[],
            findings=findings,
            buckets=[],
        )
        if conclusion_on(THIS, results, baselines).outcome == "better":
            others = [
                pair
                for metric in metrics
                if metric is not leading
                for pair in compared_with(metric, own, baselines)
            ]
            results = replace(results, pairs=[*results.pairs, *others])
    return RunEvaluation(own, baselines, results, findings, recorded or {})


def headline_of(metrics: Sequence[Metric], name: str) -> Metric | None:
    """Return the metric called `name`, or else the first one; None if there are no metrics."""
    return next((metric for metric in metrics if metric.name == name), next(iter(metrics), None))


def compared_with(metric: Metric, own: Scores, baselines: Mapping[str, Scores]) -> list[Pair]:
    """Compare a run with each of its baselines in one metric, by paired tests over the examples."""
    others = {name: scores.rows[metric.name] for name, scores in baselines.items()}
    return compare_with_others(metric, own.rows[metric.name], others)


def baseline_scores(
    task: Task,
    data: TaskData,
    n_resample: int = N_RESAMPLE,
    display: Display | None = None,
) -> dict[str, Scores]:
    """Score the task's baselines on the test split, with a progress display; return the scores by
    name.
    """
    display = display or Display(shown=False)
    examples = data.examples("test")
    found = {}
    for system in map(as_system, task.report.baselines(data)):
        mode: Mode = "generate" if isinstance(system, Generator) else "log_prob"
        predictions = method_of(system, mode)(examples)
        title = f"baseline {system.name}:"
        answers = list(display.each(title, predictions, len(examples), "answers"))
        metrics = task.answering.all_metrics(examples[0].language)
        found[system.name] = score(examples, answers, metrics, n_resample)
    return found


def digest_line(data: Mapping[str, str]) -> str:
    """Return a line that names the split, corpus, languages and digest of a record of
    `TaskData.recorded`.
    """
    languages = f", {data['languages']}" if data.get("languages") else ""
    return f"{data['split']} split of {data['corpus']}{languages}: digest {shown(data['digest'])}"
