"""Audit of a trained run, for calls from Python."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.auditing.settings import USUAL, AuditSettings

if TYPE_CHECKING:
    import pandas as pd

    from lslm_lightning.auditing.finding import AuditFinding
    from lslm_lightning.auditing.subject import AuditSubject
    from lslm_lightning.experiments.run import Run
    from lslm_lightning.runs import FoundRun, RunDirectory
    from lslm_lightning.training.display import Display

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditResults:
    """Findings of an audit, in the order of its parts.

    Attributes:
        findings: finding of each part.
        path: folder with the findings, one JSON file each.
        page: path of the HTML page.
    """

    findings: "Sequence[AuditFinding]"
    path: Path
    page: Path

    def table(self) -> "pd.DataFrame":
        """Return a DataFrame with one row per figure: part, figure, value, unit, interval."""
        import pandas as pd

        rows = [
            {
                "part": finding.part,
                "figure": figure.key,
                "value": figure.value,
                "unit": figure.unit,
                "low": figure.low,
                "high": figure.high,
            }
            for finding in self.findings
            for figure in finding.figures
        ]
        return pd.DataFrame(rows).set_index(["part", "figure"]) if rows else pd.DataFrame()


def audit(
    run: "str | PathLike[str] | Run | FoundRun",
    settings: AuditSettings = USUAL,
    *,
    parts: Sequence[str] | None = None,
    fresh: bool = False,
    device: str = "auto",
    trust: bool = False,
    display: "Display | None" = None,
) -> AuditResults:
    """Audit a trained run as `lslm audit` does: memorization, contamination and more, with a page.

    Nothing is sent or downloaded. Findings are written to `RUN/audit/`; those whose inputs are
    unchanged are reused. The page has the findings of earlier audits for the other parts.

    Args:
        run: a run directory, a checkpoint in one, an MLflow run id, `models:/NAME@best`, a pattern
            (stands for the newest run that matches), or the result of `train`.
        settings: settings of the audit.
        parts: names of the parts to measure; by default all.
        fresh: measure all parts anew.
        device: "cpu", "cuda" or "auto".
        trust: allow the run's config to name classes outside of this project.
        display: shows the progress; None for no display.

    Raises:
        ValueError: there is no such run or part, or the settings name what is not there.
        OSError: a file that the settings name cannot be read.
    """
    from lslm_lightning.auditing.harness import run_audit, with_earlier_findings
    from lslm_lightning.auditing.parts import audit_parts
    from lslm_lightning.experiments.run_cards import write_run_cards
    from lslm_lightning.run_files import AUDIT, DATA_SHEET
    from lslm_lightning.runs import FoundRun, find_run

    chosen = every = audit_parts(settings)
    if parts is not None:
        names = [part.name for part in chosen]
        if not parts:
            raise ValueError(f"parts is empty; name some of {', '.join(names)}, or leave it out")
        if unknown := [name for name in parts if name not in names]:
            raise ValueError(f"parts={unknown[0]!r} must be one of {', '.join(names)}")
        chosen = [part for part in chosen if part.name in parts]
    for part in chosen:
        part.check()
    found = run if isinstance(run, FoundRun) else find_run(fspath(run))
    subject = open_subject(found, settings, device, trust)
    folder = found.directory.path / AUDIT
    findings = run_audit(subject, chosen, folder, fresh, display)
    shown = with_earlier_findings(subject, every, folder, findings)
    page = write_audit(subject, shown)
    is_gone = subject.data is None and bool(found.config.get("data"))
    if not (is_gone and (found.directory.path / DATA_SHEET).exists()):  # it knows more of the data
        write_run_cards(found.directory, None if subject.data is None else subject.data.corpus)
    record_audit(found.directory, findings)
    return AuditResults(findings, folder, page)


def open_subject(
    found: "FoundRun", settings: AuditSettings, device: str = "auto", trust: bool = False
) -> "AuditSubject":
    """Return the run to be audited, with its data if they are on this machine.

    Raises:
        ValueError: the run has no checkpoint.
    """
    from lslm_lightning.auditing.subject import AuditSubject
    from lslm_lightning.experiments.evaluation_sets import whole_data
    from lslm_lightning.systems.checkpoint import Checkpoint

    _ = found.checkpoint
    system = Checkpoint(str(found.path), device=device, trust=trust)
    if not found.config.get("data"):
        reason = "The run has no data of its own: its model was imported."
        return AuditSubject(system, None, reason, settings)
    try:
        data = whole_data(found.directory, trust)
        data.corpus.digest(data.corpus.splits[0])
    except (ValueError, OSError, KeyError) as error:
        reason = f"The corpus of the run cannot be read here: {' '.join(str(error).split())}"
        return AuditSubject(system, None, reason, settings)
    return AuditSubject(system, data, settings=settings)


def write_audit(subject: "AuditSubject", findings: "Sequence[AuditFinding]") -> Path:
    """Write the page of an audit, and its section into the report of the run; return the path of
    the page.
    """
    from lslm_lightning.auditing.page import audit_report, audit_section
    from lslm_lightning.reports.added import add_section
    from lslm_lightning.reports.page import write_page
    from lslm_lightning.run_files import AUDIT_PAGE

    directory = subject.directory
    date = time.strftime("%Y-%m-%d %H:%M")
    report = audit_report(directory.path.name, subject.task_name, findings, date)
    page = write_page(report, directory.path / AUDIT_PAGE)
    add_section(directory.report, audit_section(findings), "section-audit")
    return page


def record_audit(directory: "RunDirectory", findings: "Sequence[AuditFinding]") -> None:
    """Log the figures, the files and the page of an audit in the MLflow run of the audited run. A
    run without one is left as it is; a store that does not answer is told in a warning.
    """
    from lslm_lightning.experiments.synchronization import reopened
    from lslm_lightning.run_files import AUDIT, AUDIT_PAGE, DATA_SHEET, MODEL_CARD
    from lslm_lightning.tracking import TrackingError

    if directory.run_id is None:
        return
    figures = {
        f"audit/{finding.part}/{figure.key}": figure.value
        for finding in findings
        for figure in finding.figures
    }
    try:
        with reopened(directory) as tracker:
            tracker.log_metrics(figures, 0)
            files = sorted((directory.path / AUDIT).glob("[!.]*.json"))
            others = (directory.path / name for name in (AUDIT_PAGE, MODEL_CARD, DATA_SHEET))
            for path in (*files, *others, directory.report):
                if path.exists():
                    tracker.log_artifact(path)
    except (TrackingError, ValueError) as error:
        log.warning("the audit is not logged in MLflow: %s", " ".join(str(error).split()))
