"""Comparison of finished runs, for calls from Python."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.metrics.resampling import TEST_RESAMPLES

if TYPE_CHECKING:
    import pandas as pd

    from lslm_lightning.evaluation.diagnostics import Finding
    from lslm_lightning.experiments.run import Run
    from lslm_lightning.reports.blocks import Report, Table
    from lslm_lightning.runs import RunDirectory


@dataclass(frozen=True)
class ComparisonResults:
    """Scores of finished runs on one test set, with paired tests.

    Attributes:
        summary: sentences that say which run is better and whether the difference is significant.
        findings: failed sanity checks.
        report: path of the HTML report.
        choices: for each pattern in `runs`, a line of text that names the run it was resolved to.
        scores: table of scores, as the report shows it.
    """

    summary: Sequence[str]
    findings: "Sequence[Finding]"
    report: Path
    choices: dict[str, str]
    scores: "Table"

    def table(self) -> "pd.DataFrame":
        """Return the scores as a DataFrame: one row per run, one column per metric."""
        import pandas as pd

        columns = [heading.column for heading in self.scores.headings()]
        rows = [list(map(plain, row)) for row in self.scores.rows]
        return pd.DataFrame(rows, columns=columns).set_index(columns[0])


def compare(
    runs: "Sequence[str | PathLike[str] | Run]",
    metric: str | None = None,
    *,
    n_resample: int = TEST_RESAMPLES,
    output: str | PathLike[str] | None = None,
    trust: bool = False,
    human: str | PathLike[str] | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> ComparisonResults:
    """Compare finished runs as `lslm compare` does: scores with intervals, paired tests, a report.

    Args:
        runs: two or more run directories, MLflow run ids, registered models (`models:/NAME@best`),
            patterns (each stands for the newest run that matches), or results of `train`.
        metric: name of the metric to rank by. Default: the headline metric of the task.
        n_resample: number of resamples for confidence intervals and paired tests.
        output: folder for the report. Default: runs/<task>/compare-<runs>-<time>.
        trust: allow the configs of the runs to name any class.
        human: ratings.json of `lslm human score`, shown as one more metric.
        tell: called before the comparison with a line for each run that a pattern stands for.

    Raises:
        ValueError: there are fewer than two runs, a run is missing or was not tested, or the runs
            are of different tasks.
    """
    from lslm_lightning.experiments.invocation import (
        command_arguments,
        command_line,
        running_command,
    )
    from lslm_lightning.runs import find_run

    if isinstance(runs, str) or len(runs) < 2:
        raise ValueError(f"runs must be two or more, but is {runs!r}")
    if n_resample < 1:
        raise ValueError(
            f"n_resample={n_resample} must be at least 1; {TEST_RESAMPLES} suits most test sets"
        )
    named = [fspath(run) for run in runs]
    compared = [find_run(run, is_tested=True) for run in named]
    from lslm_lightning.experiments.comparison import compare_runs  # slow to import
    from lslm_lightning.reports.page import write_report

    directories = [run.directory for run in compared]
    lines = {run.pattern: str(run) for run in compared if run.pattern}
    is_command = command_arguments()[:1] == ["compare"]
    for line in lines.values():
        tell(line)
    with running_command(command_arguments() if is_command else ["compare", *named]):
        ratings = None if human is None else fspath(human)
        found = compare_runs(directories, metric, trust, n_resample, command_line(), lines, ratings)
    folder = Path(output) if output else default_folder(found.task_name, directories)
    path = write_report(found.report, folder / "report")
    return ComparisonResults(sentences_of(found.report), found.findings, path, lines, found.scores)


def default_folder(task: str, runs: Sequence["RunDirectory"]) -> Path:
    """Return the default folder for a comparison report, `runs/<task>/compare-<names>-<time>`.

    Args:
        task: name of the task.
        runs: compared runs; the first three are part of the folder's name.
    """
    names = "-".join(run.path.name[:24] for run in runs[:3])
    return Path(f"runs/{task}/compare-{names}-{time.strftime('%Y%m%d-%H%M%S')}")


def sentences_of(report: "Report") -> list[str]:
    """Return the conclusion of a report as a list of sentences, the main sentence first."""
    return [sentence for sentence in (report.lead, *report.details) if sentence]


def plain(value: object) -> object:
    """Return the value of a table cell as a number or plain text; None for an empty cell."""
    from lslm_lightning.reports.blocks import Measure, Missing

    if isinstance(value, Measure):
        return value.value
    if value is None or isinstance(value, Missing):
        return None
    return value if isinstance(value, int | float) else str(value)
